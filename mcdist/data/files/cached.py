"""CachedFiles: a shard folder at a URL or on a slow file system, of which this node keeps the shards that it reads. Whole shards are fetched."""

import hashlib
import os
import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from mcdist.data.files.cache import ShardCache, Wanted, check_free
from mcdist.data.files.fetch import fetch_bytes, fetch_file
from mcdist.data.files.files import sha256_of
from mcdist.data.shards.index import index_name
from mcdist.data.shards.manifest import MANIFEST_NAME, Manifest, ShardEntry, parse_manifest
from mcdist.location import check_location

STAGE_THREADS = 4
"""Shards a rank copies at a time: one alone seldom fills a network."""
_PLAIN_SUFFIX = re.compile(r"\.(?!part|download)[a-z0-9]{1,16}")


class CachedFiles:
    """The files below `url`, kept in `cache`. Who fetches a shard compares its SHA-256; with `verify` each process does so again when it first reads it."""

    fetches = True

    def __init__(self, url: str, *, cache: ShardCache, verify: bool = False) -> None:
        """Raises ConfigError for a URL with a secret in it."""
        check_location(url)
        self.url, self.cache, self.verify = url.rstrip("/"), cache, verify
        self._verified: set[str] = set()

    @property
    def name(self) -> str:
        """The folder's URL."""
        return self.url

    def manifest(self) -> Manifest:
        """See ShardFiles. It is small and decides all the rest, so it is never taken from the cache."""
        where = f"{self.url}/{MANIFEST_NAME}"
        return parse_manifest(fetch_bytes(where), where=where)

    def read_index(self, shard: ShardEntry) -> bytes:
        """See ShardFiles."""
        wanted = self._index(shard)
        with self.cache.open(wanted) as descriptor:
            content = os.pread(descriptor, wanted.num_bytes, 0)
        if hashlib.sha256(content).hexdigest() != wanted.sha256:
            self.cache.discard(wanted)
            with self.cache.open(wanted) as descriptor:
                content = os.pread(descriptor, wanted.num_bytes, 0)
        return content

    @contextmanager
    def open(self, shard: ShardEntry) -> Iterator[int]:
        """See ShardFiles. Nothing stays open between two reads, so that the cache may evict it."""
        if self.verify and shard.name not in self._verified:
            self.fetch_again(shard)
            self._verified.add(shard.name)
        with self.cache.open(self._shard(shard)) as descriptor:
            yield descriptor

    def fetch_again(self, shard: ShardEntry) -> bool:
        """Compare the kept copy with its checksum and drop it where it is damaged. Always true: another process may have dropped it just now."""
        wanted = self._shard(shard)
        with self.cache.open(wanted) as descriptor:
            found = sha256_of(descriptor)
        if found != wanted.sha256:
            self.cache.discard(wanted)
        return True

    def fetch_ahead(self, shard: ShardEntry) -> None:
        """See ShardFiles."""
        if shard.index_num_bytes:
            self.cache.fetch_ahead(self._index(shard))
        self.cache.fetch_ahead(self._shard(shard))

    def stage(self, shard: ShardEntry) -> None:
        """Fetch the shard and its index if they are not kept; waits for room, errors are raised."""
        for wanted in (self._index(shard), self._shard(shard)) if shard.index_num_bytes else (self._shard(shard),):
            with self.cache.open(wanted):
                pass

    def is_kept(self, shard: ShardEntry) -> bool:
        """Whether the shard is in the cache now."""
        return self.cache.is_kept(self._shard(shard))

    def _shard(self, shard: ShardEntry) -> Wanted:
        return self._wanted(shard.name, sha256=shard.sha256, num_bytes=shard.num_bytes)

    def _index(self, shard: ShardEntry) -> Wanted:
        return self._wanted(index_name(shard.name), sha256=shard.index_sha256, num_bytes=shard.index_num_bytes)

    def _wanted(self, name: str, *, sha256: str, num_bytes: int) -> Wanted:
        suffix = Path(name).suffix
        fetch = partial(_fetch, f"{self.url}/{name}", num_bytes=num_bytes, sha256=sha256)
        return Wanted(sha256=sha256, num_bytes=num_bytes, suffix=suffix if _PLAIN_SUFFIX.fullmatch(suffix) else ".shard", fetch=fetch)


def _fetch(url: str, to: Path, *, num_bytes: int, sha256: str) -> None:
    fetch_file(url, to=to, num_bytes=num_bytes, sha256=sha256)


def stage(files: CachedFiles, *, manifest: Manifest, part: int, num_parts: int) -> None:
    """Keep shards `part`, `part + num_parts`, ... of the folder; what the other parts have not fetched yet is fetched when it is read.

    Raises:
        MachineError: the disk has no room for the whole folder.
        ShardError: a shard is missing or damaged at its source.
    """
    missing = sum(shard.num_bytes + shard.index_num_bytes for shard in manifest.shards if not files.is_kept(shard))
    check_free(files.cache.folder, num_bytes=missing)
    with ThreadPoolExecutor(STAGE_THREADS, thread_name_prefix="stage") as pool:
        for _ in pool.map(files.stage, manifest.shards[part::num_parts]):
            pass
