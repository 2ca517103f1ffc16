"""Digests of a shard folder: of its samples' keys, and of its bytes."""

import hashlib
from typing import Protocol, runtime_checkable

from mcdist.data.shards.manifest import Manifest


@runtime_checkable
class Keys(Protocol):
    """A reader, as far as its keys go."""

    def __len__(self) -> int: ...

    def key(self, index: int) -> str:
        """The sample's key."""
        ...


def keys_digest(reader: Keys) -> str:
    """SHA-256 over the samples' keys in order, in hexadecimal: the same for the same samples as tars, as FFCV files, at a URL or on another disk.

    Reads every shard's index, or every FFCV file's table, once; no photo.
    """
    digest = hashlib.sha256()
    for index in range(len(reader)):
        digest.update(reader.key(index).encode())
        digest.update(b"\0")
    return digest.hexdigest()


def bytes_digest(manifest: Manifest) -> str:
    """SHA-256 over the shards' checksums in order, in hexadecimal: another one as soon as any photo, mask or ground truth changes. Reads nothing."""
    return hashlib.sha256("\0".join(shard.sha256 for shard in manifest.shards).encode()).hexdigest()
