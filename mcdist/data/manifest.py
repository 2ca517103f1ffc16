"""Manifest: what a shard folder holds and where. Written last, so its presence means that the folder is complete."""

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path

from mcdist.errors import ShardError
from mcdist.run_dir import write_atomically

SCHEMA_VERSION = 1
MANIFEST_NAME = "manifest.json"

DAMAGE = (ValueError, KeyError, TypeError, AttributeError, IndexError, RecursionError)
"""What reading JSON of another form than expected raises: manifests come from elsewhere."""

Extent = tuple[int, int]
"""(offset, size) in bytes of one member's content inside its tar."""


@dataclass(frozen=True, slots=True)
class SampleEntry:
    """One sample: its key and the extent of every member (`jpg` or `png`, `mask.png`, optional `seg.png`, `json`)."""

    key: str
    members: dict[str, Extent]


@dataclass(frozen=True, slots=True)
class ShardEntry:
    """One tar: file name inside the folder, size in bytes, SHA-256, and its samples in tar order."""

    name: str
    num_bytes: int
    sha256: str
    samples: tuple[SampleEntry, ...]


@dataclass(frozen=True, slots=True)
class Manifest:
    """A whole shard folder. `options` are the builder's own; `skipped` lists photos left out as (photo, reason)."""

    source: str
    shards: tuple[ShardEntry, ...]
    format: str = "webdataset"
    schema_version: int = SCHEMA_VERSION
    options: dict[str, str | int | float | bool | None] = field(default_factory=dict)
    skipped: tuple[tuple[str, str], ...] = ()

    @property
    def num_samples(self) -> int:
        """Samples over all shards."""
        return sum(len(shard.samples) for shard in self.shards)


def write_manifest(manifest: Manifest, *, folder: Path) -> None:
    """Write `manifest.json` atomically: sorted keys, no time stamp, so equal shards give an equal file."""
    text = json.dumps(asdict(manifest), sort_keys=True, separators=(",", ":"))
    write_atomically(folder / MANIFEST_NAME, text.encode() + b"\n")


def read_manifest(folder: Path) -> Manifest:
    """Read and check `folder/manifest.json`.

    Raises:
        ShardError: no such folder, no manifest (an unfinished build), another schema version, or a damaged file.
    """
    path = folder / MANIFEST_NAME
    if not folder.is_dir():
        raise ShardError(f"expected a shard folder at {folder}, found nothing there; build it with: python -m shards build ... --out {folder}")
    if not path.is_file():
        raise ShardError(f"expected {path}, found none: the build did not finish; run the same `python -m shards build` command again, it resumes")
    try:
        content = json.loads(path.read_text())
        version = content["schema_version"]
    except DAMAGE as error:
        raise ShardError(f"{path} is damaged ({error!r}); delete it and run the same `python -m shards build` command again") from error
    if version != SCHEMA_VERSION:
        raise ShardError(f"{path} has schema version {version}, this mcdist reads {SCHEMA_VERSION}; rebuild the shards with: python -m shards build")
    try:
        return _parse(content)
    except DAMAGE as error:
        raise ShardError(f"{path} is damaged ({error!r}); delete it and run the same `python -m shards build` command again") from error


def _parse(content: dict) -> Manifest:
    if content["format"] != "webdataset":
        raise ValueError(f"format {content['format']!r} is not webdataset")
    return Manifest(
        source=str(content["source"]),
        shards=tuple(_parse_shard(shard) for shard in content["shards"]),
        format=str(content["format"]),
        schema_version=int(content["schema_version"]),
        options=dict(content["options"]),
        skipped=tuple((str(photo), str(reason)) for photo, reason in content["skipped"]),
    )


def _parse_shard(shard: dict) -> ShardEntry:
    num_bytes = int(shard["num_bytes"])
    samples = tuple(
        SampleEntry(key=str(sample["key"]), members={str(name): _extent(extent, num_bytes=num_bytes) for name, extent in sample["members"].items()})
        for sample in shard["samples"]
    )
    return ShardEntry(name=_plain_name(shard["name"]), num_bytes=num_bytes, sha256=str(shard["sha256"]), samples=samples)


def _extent(extent: list, *, num_bytes: int) -> Extent:
    offset, size = int(extent[0]), int(extent[1])
    if not 0 <= offset <= offset + size <= num_bytes:
        raise ValueError(f"extent {offset}, {size} leaves its shard of {num_bytes} bytes")
    return offset, size


def _plain_name(name: str) -> str:
    """A shard's name may not lead out of its folder: manifests come from elsewhere."""
    if not name or Path(name).name != name or name.startswith("."):
        raise ValueError(f"shard name {name!r} is not a plain file name")
    return name
