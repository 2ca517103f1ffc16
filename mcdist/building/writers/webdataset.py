"""One WebDataset tar and its index: the same photos give the same bytes, whoever writes it and whenever."""

import hashlib
import os
import tarfile
from collections.abc import Iterable
from pathlib import Path

from webdataset import TarWriter

from mcdist.building.source import Photo
from mcdist.data.shards.index import SampleEntry, encode_index, index_name
from mcdist.data.shards.manifest import ShardEntry
from mcdist.run_dir import discard, write_atomically

FILE_MODE = 0o644


def write_shard(path: Path, *, photos: Iterable[Photo]) -> ShardEntry | None:
    """Write `photos` as a tar beside `path`, flush it to disk, rename it, then its index; None (and no file) where there are no photos.

    Errors leave nothing behind: OSError of the disk, and whatever drawing the next photo raises.
    """
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        keys = _write(beside, photos=photos)
        if not keys:
            return None
        index = encode_index(path.name, samples=_extents(beside, keys=keys))
        entry = ShardEntry(
            name=path.name,
            num_samples=len(keys),
            num_bytes=beside.stat().st_size,
            sha256=sha256_of(beside),
            index_num_bytes=len(index),
            index_sha256=hashlib.sha256(index).hexdigest(),
        )
        beside.replace(path)
    finally:
        discard(beside)
    write_atomically(path.with_name(index_name(path.name)), index)
    return entry


def sha256_of(path: Path) -> str:
    """SHA-256 of a file, hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _write(path: Path, *, photos: Iterable[Photo]) -> list[str]:
    keys = []
    with path.open("wb") as file:
        # No clock, no user, no group, no encoding by suffix: the bytes are the photos' alone.
        with TarWriter(file, user="", group="", mode=FILE_MODE, mtime=0, encoder=False) as tar:
            for photo in photos:
                tar.write({"__key__": photo.key, **photo.members})
                keys.append(photo.key)
        file.flush()
        os.fsync(file.fileno())
    return keys


def _extents(path: Path, *, keys: list[str]) -> tuple[SampleEntry, ...]:
    """Where each member's content is, as read back from the tar."""
    members: dict[str, dict[str, tuple[int, int]]] = {key: {} for key in keys}
    with tarfile.open(path) as tar:
        for found in tar:
            key, _, member = found.name.partition(".")
            members[key][member] = (found.offset_data, found.size)
    return tuple(SampleEntry(key=key, members=members[key]) for key in keys)
