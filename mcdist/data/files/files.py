"""ShardFiles: where the files of a shard folder come from. Here a local folder; `cached_files.py` has folders elsewhere."""

import hashlib
import os
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Protocol, runtime_checkable

from mcdist.data.files.recent import Recent
from mcdist.data.shards.index import index_name
from mcdist.data.shards.manifest import Manifest, ShardEntry, read_manifest
from mcdist.errors import ShardError

MAX_DESCRIPTORS = 128
"""Tars a process holds open: more than the lanes of a rank read at a time, far below the usual limit of 1,024."""


@runtime_checkable
class ShardFiles(Protocol):
    """The files of one shard folder. It travels to worker processes; each opens its own."""

    @property
    def name(self) -> str:
        """The folder, as messages name it."""
        ...

    @property
    def fetches(self) -> bool:
        """Whether reading may mean fetching, so that `fetch_ahead` is worth its while."""
        ...

    def manifest(self) -> Manifest:
        """The folder's manifest, read anew; ShardError where there is none or it is damaged."""
        ...

    def read_index(self, shard: ShardEntry) -> bytes:
        """The bytes of the shard's index; ShardError where it cannot be read."""
        ...

    def open(self, shard: ShardEntry) -> AbstractContextManager[int]:
        """A descriptor of the shard for the length of a `with` block; ShardError where it cannot be opened."""
        ...

    def fetch_again(self, shard: ShardEntry) -> bool:
        """After damage was met: True where there is a copy that may have been it and is sound or gone now, so that reading again may succeed."""
        ...

    def fetch_ahead(self, shard: ShardEntry) -> None:
        """Make reading the shard quick, if that is possible without waiting for room."""
        ...


class LocalFiles:
    """A shard folder on a file system of this machine."""

    fetches = False

    def __init__(self, folder: Path, *, verify: bool = False) -> None:
        """With `verify` each process compares every shard's SHA-256 when it first opens it."""
        self.folder, self.verify = folder, verify
        self._verified: set[str] = set()
        self._descriptors: Recent[str, int] = Recent(MAX_DESCRIPTORS, cost=_one, close=os.close)

    @property
    def name(self) -> str:
        """The folder's path."""
        return str(self.folder)

    def manifest(self) -> Manifest:
        """See ShardFiles."""
        return read_manifest(self.folder)

    def read_index(self, shard: ShardEntry) -> bytes:
        """See ShardFiles."""
        path = self.folder / index_name(shard.name)
        try:
            return path.read_bytes()
        except OSError as error:
            raise ShardError(f"cannot read {path} ({error.strerror}); check with: mcdist shards verify {self.folder}") from error

    @contextmanager
    def open(self, shard: ShardEntry) -> Iterator[int]:
        """See ShardFiles; the tars used last stay open."""
        yield self._descriptors.get(shard.name, make=lambda: self._open(shard))

    def _open(self, shard: ShardEntry) -> int:
        path = self.folder / shard.name
        try:
            descriptor = os.open(path, os.O_RDONLY)
        except OSError as error:
            raise ShardError(f"{path}: cannot open the shard ({error.strerror}); check with: mcdist shards verify {self.folder}") from error
        if self.verify and shard.name not in self._verified:
            self._check(descriptor, shard=shard, path=path)
        return descriptor

    def _check(self, descriptor: int, *, shard: ShardEntry, path: Path) -> None:
        if sha256_of(descriptor) != shard.sha256:
            os.close(descriptor)
            raise ShardError(f"{path} has another SHA-256 than its manifest says; copy the folder again, or build it again with --overwrite")
        self._verified.add(shard.name)

    def fetch_again(self, shard: ShardEntry) -> bool:
        """Never: there is no other copy."""
        return False

    def fetch_ahead(self, shard: ShardEntry) -> None:
        """Nothing to fetch."""


def sha256_of(descriptor: int) -> str:
    """SHA-256 of an open file, hexadecimal; its position stays."""
    digest, offset = hashlib.sha256(), 0
    while piece := os.pread(descriptor, 2**22, offset):
        digest.update(piece)
        offset += len(piece)
    return digest.hexdigest()


def _one(descriptor: int) -> int:
    return 1
