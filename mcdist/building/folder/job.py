"""One shard's work: make its photos, write its file, leave a sidecar that lets the next run keep it."""

import errno
import hashlib
import json
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TypeVar

from mcdist.building.source import Item, Option, Photo, Source
from mcdist.building.writers.ffcv import write_beton
from mcdist.building.writers.pack import Packed, Packing, pack
from mcdist.building.writers.webdataset import sha256_of, write_shard
from mcdist.data.shards.index import index_name
from mcdist.data.shards.manifest import ShardEntry
from mcdist.errors import DataError, MachineError
from mcdist.json_text import parse_json
from mcdist.run_dir import write_atomically

Made = TypeVar("Made", Photo, Packed)


@dataclass(frozen=True, slots=True)
class ShardJob:
    """What one worker is asked for: these items of this source, as this tar, or with `packing` as this FFCV file.

    `fingerprint` is a digest of the items and every option.
    """

    path: Path
    items: tuple[Item, ...]
    fingerprint: str
    strict: bool = False
    packing: Packing | None = None

    @property
    def sidecar(self) -> Path:
        """The hidden note beside the shard that says what it holds; gone once the manifest is written."""
        return self.path.with_name(f".{self.path.stem}.json")


@dataclass(frozen=True, slots=True)
class ShardDone:
    """A finished shard: its entry (None: every photo was skipped), the photos skipped with their reasons, how often each note was made, and if it was kept."""

    entry: ShardEntry | None
    skipped: tuple[tuple[str, str], ...] = ()
    notes: dict[str, int] = field(default_factory=dict)
    kept: bool = False


def shard_path(folder: Path, *, number: int, packing: Packing | None) -> Path:
    """The path of the shard of that number."""
    return folder / f"shard-{number:06d}.{'tar' if packing is None else 'beton'}"


def shard_jobs(source: Source, *, folder: Path, shard_size: int, strict: bool, packing: Packing | None) -> list[ShardJob]:
    """Cut the items into runs of `shard_size`, in order. A skipped photo leaves its shard one short, so that no shard depends on another."""
    options = source.options | (packing.options if packing else {})
    chunks = [source.items[first : first + shard_size] for first in range(0, len(source.items), shard_size)]
    paths = [shard_path(folder, number=number, packing=packing) for number in range(len(chunks))]
    return [
        ShardJob(path, items=chunk, fingerprint=fingerprint(chunk, options=options), strict=strict, packing=packing)
        for path, chunk in zip(paths, chunks, strict=True)
    ]


def run_shard_job(job: ShardJob, source: Source) -> ShardDone:
    """Build one shard, its file first, sidecar after.

    Raises:
        DataError: with `strict`, the first photo that cannot take part.
        MachineError: the disk is full or refuses.
    """
    skipped: list[tuple[str, str]] = []
    notes: Counter[str] = Counter()
    try:
        if job.packing is None:
            entry = write_shard(job.path, photos=_made(job, source.make, skipped=skipped, notes=notes))
        else:
            entry = write_beton(job.path, samples=_made(job, _packed(source, packing=job.packing), skipped=skipped, notes=notes))
    except MachineError:
        raise
    except OSError as error:
        raise MachineError(_refusal(error, folder=job.path.parent)) from error
    done = ShardDone(entry=entry, skipped=tuple(skipped), notes=dict(notes))
    write_atomically(job.sidecar, json.dumps({"fingerprint": job.fingerprint, **asdict(done)}).encode())
    return done


def finished_shard(job: ShardJob) -> ShardDone | None:
    """What an earlier run left of this very job: None unless fingerprint and checksum both fit, and where `strict` is on and photos were skipped."""
    try:
        content = parse_json(job.sidecar.read_text())
        if content["fingerprint"] != job.fingerprint or (job.strict and content["skipped"]):
            return None
        entry = _entry_of(content["entry"])
        if entry is not None and not _is_there(entry, path=job.path):
            return None
        skipped = tuple((str(photo), str(reason)) for photo, reason in content["skipped"])
        return ShardDone(entry=entry, skipped=skipped, notes={str(note): int(num) for note, num in content["notes"].items()}, kept=True)
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None


def _packed(source: Source, *, packing: Packing) -> Callable[[Item], Packed]:
    return lambda item: pack(source.make(item), packing=packing)


def _made(job: ShardJob, make: Callable[[Item], Made], *, skipped: list[tuple[str, str]], notes: Counter[str]) -> Iterator[Made]:
    for item in job.items:
        try:
            photo = make(item)
        except DataError as error:
            if job.strict:
                raise
            skipped.append((item.photo, str(error)))
            continue
        notes.update(photo.notes)
        yield photo


def fingerprint(items: tuple[Item, ...], *, options: dict[str, Option]) -> str:
    """One name for what a shard is made of: the items, their files' state, and every option."""
    listed = [[item.key, item.photo, item.identity, item.state] for item in items]
    return hashlib.sha256(json.dumps([options, listed], sort_keys=True).encode()).hexdigest()


def _entry_of(content: dict | None) -> ShardEntry | None:
    if content is None:
        return None
    return ShardEntry(
        name=str(content["name"]),
        num_samples=int(content["num_samples"]),
        num_bytes=int(content["num_bytes"]),
        sha256=str(content["sha256"]),
        index_num_bytes=int(content["index_num_bytes"]),
        index_sha256=str(content["index_sha256"]),
    )


def _is_there(entry: ShardEntry, *, path: Path) -> bool:
    """Shard and index (where the format has one) are where the job needs them, with the bytes they had."""
    if entry.name != path.name or sha256_of(path) != entry.sha256:
        return False
    return not entry.index_sha256 or sha256_of(path.with_name(index_name(path.name))) == entry.index_sha256


def _refusal(error: OSError, *, folder: Path) -> str:
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return f"no space left for shards in {folder}; free some space and run the same command again (finished shards are kept), or choose another --out"
    return f"cannot write shards in {folder}: {error.strerror or error}; check the folder and its permissions, or choose another --out"
