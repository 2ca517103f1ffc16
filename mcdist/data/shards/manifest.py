"""Manifest: what a shard folder holds. Written last, so its presence means that the folder is complete.

It knows shards, not samples: where each sample is, the index beside each shard says (`index.py`), which is read with the shard.
So its size, and the memory of whoever reads it, grows with the number of shards alone.
"""

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from mcdist.errors import DAMAGE, ShardError, reason
from mcdist.json_text import parse_json
from mcdist.run_dir import write_atomically

SCHEMA_VERSION = 2
MANIFEST_NAME = "manifest.json"
FORMATS = ("webdataset", "ffcv")


@dataclass(frozen=True, slots=True)
class ShardEntry:
    """One shard file: name inside the folder, samples, bytes and SHA-256; and bytes and SHA-256 of its index (0 and "" where a format has none)."""

    name: str
    num_samples: int
    num_bytes: int
    sha256: str
    index_num_bytes: int = 0
    index_sha256: str = ""


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
        return sum(shard.num_samples for shard in self.shards)

    @property
    def num_bytes(self) -> int:
        """Bytes of all shards, without their indexes."""
        return sum(shard.num_bytes for shard in self.shards)


def write_manifest(manifest: Manifest, *, folder: Path) -> None:
    """Write `manifest.json` atomically: sorted keys, no time stamp, so equal shards give an equal file."""
    text = json.dumps({"num_samples": manifest.num_samples, **asdict(manifest)}, sort_keys=True, separators=(",", ":"))
    write_atomically(folder / MANIFEST_NAME, text.encode() + b"\n")


def read_manifest(folder: Path) -> Manifest:
    """Read and check `folder/manifest.json`.

    Raises:
        ShardError: no such folder, no manifest (an unfinished build), another schema version, or a damaged file.
    """
    path = folder / MANIFEST_NAME
    if not folder.is_dir():
        raise ShardError(f"expected a shard folder at {folder}, found nothing there; build it with: mcdist shards build ... --out {folder}")
    if not path.is_file():
        if inside := sorted(found.parent.name for found in folder.glob(f"*/{MANIFEST_NAME}")):
            raise ShardError(f"expected {path}, found none; its folders hold shards: name one of {', '.join(str(folder / name) for name in inside)}")
        raise ShardError(f"expected {path}, found none: the build did not finish; run the same `mcdist shards build` command again, it resumes")
    try:
        content = path.read_bytes()
    except OSError as error:
        raise ShardError(f"cannot read {path} ({error.strerror}); check the folder and its permissions") from error
    return parse_manifest(content, where=str(path))


def parse_manifest(content: bytes, *, where: str) -> Manifest:
    """The manifest that `content` is; `where` names it in messages.

    Raises:
        ShardError: another schema version, or damage.
    """
    try:
        fields = parse_json(content)
        version = fields["schema_version"]
    except DAMAGE as error:
        raise _damaged(where, error) from error
    if "columns" in fields:
        raise ShardError(f"expected the manifest of a shard folder, {where} is that of a feature store; name the folder that mcdist shards build wrote")
    if version != SCHEMA_VERSION:
        raise ShardError(
            f"{where} has schema version {version}, this mcdist reads {SCHEMA_VERSION}; rebuild the shards with: mcdist shards build ... --overwrite"
        )
    try:
        return _parse(fields)
    except DAMAGE as error:
        raise _damaged(where, error) from error


def _damaged(where: str, error: Exception) -> ShardError:
    return ShardError(f"{where} is damaged ({reason(error)}); delete it and run the same `mcdist shards build` command again")


def _parse(content: dict[str, Any]) -> Manifest:
    if content["format"] not in FORMATS:
        raise ValueError(f"format {content['format']!r} is none of {', '.join(FORMATS)}")
    manifest = Manifest(
        source=str(content["source"]),
        shards=tuple(_parse_shard(shard, indexed=content["format"] == "webdataset") for shard in content["shards"]),
        format=str(content["format"]),
        schema_version=int(content["schema_version"]),
        options=dict(content["options"]),
        skipped=tuple((str(photo), str(reason)) for photo, reason in content["skipped"]),
    )
    if len({shard.name for shard in manifest.shards}) != len(manifest.shards):
        raise ValueError("two shards have one name")
    if content["num_samples"] != manifest.num_samples:
        raise ValueError(f"num_samples is {content['num_samples']}, the shards add up to {manifest.num_samples}")
    return manifest


def _parse_shard(shard: dict[str, Any], *, indexed: bool) -> ShardEntry:
    return ShardEntry(
        name=_plain_name(shard["name"]),
        num_samples=_count(shard["num_samples"], least=1),
        num_bytes=_count(shard["num_bytes"], least=1),
        sha256=_sha256(shard["sha256"]),
        index_num_bytes=_count(shard["index_num_bytes"], least=int(indexed)),
        index_sha256=_sha256(shard["index_sha256"]) if indexed else "",
    )


def _count(value: Any, *, least: int) -> int:
    if type(value) is not int or not least <= value < 2**63:
        raise ValueError(f"{value!r} is no number of at least {least}")
    return value


def _sha256(value: Any) -> str:
    """A checksum names files in the cache, so nothing else is allowed there."""
    if not isinstance(value, str) or len(value) != 64 or not set(value) <= set("0123456789abcdef"):
        raise ValueError(f"{value!r} is no SHA-256")
    return value


def _plain_name(name: str) -> str:
    """A shard's name may not lead out of its folder: manifests come from elsewhere."""
    if not name or Path(name).name != name or name.startswith("."):
        raise ValueError(f"shard name {name!r} is not a plain file name")
    return name
