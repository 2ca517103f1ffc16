"""ShardFiles: where the files of a shard folder come from. Here a local folder; `shard_cache.py` has folders elsewhere."""

import os
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Protocol, runtime_checkable

from mcdist.data.manifest import Manifest, ShardEntry, read_manifest
from mcdist.data.recent import Recent
from mcdist.data.shard_index import index_name
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
        """True where this process's copy of the shard was damaged and has been replaced by a sound one."""
        ...


class LocalFiles:
    """A shard folder on a file system of this machine."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
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
            raise ShardError(f"cannot read {path} ({error.strerror}); check with: python -m shards verify {self.folder}") from error

    @contextmanager
    def open(self, shard: ShardEntry) -> Iterator[int]:
        """See ShardFiles; the tars used last stay open."""
        yield self._descriptors.get(shard.name, make=lambda: self._open(shard))

    def _open(self, shard: ShardEntry) -> int:
        path = self.folder / shard.name
        try:
            return os.open(path, os.O_RDONLY)
        except OSError as error:
            raise ShardError(f"{path}: cannot open the shard ({error.strerror}); check with: python -m shards verify {self.folder}") from error

    def fetch_again(self, shard: ShardEntry) -> bool:
        """Never: there is no other copy."""
        return False


def _one(descriptor: int) -> int:
    return 1
