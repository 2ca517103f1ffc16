"""Verify: read every byte of a shard folder again and say what does not fit its manifest."""

import json
import tarfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from mcdist.building.writers.webdataset import sha256_of
from mcdist.data.readers.ffcv import FfcvReader
from mcdist.data.readers.open import open_shards
from mcdist.data.readers.reader import SampleReader
from mcdist.data.readers.webdataset import WebDatasetReader
from mcdist.data.shards.check import check_raw
from mcdist.data.shards.index import ShardIndex
from mcdist.data.shards.manifest import ShardEntry
from mcdist.data.shards.raw_sample import INFO_MEMBER, SEGMENTS_MEMBER
from mcdist.data.shards.sample import decode_sample
from mcdist.errors import ShardError, first_line
from mcdist.json_text import parse_json


@dataclass(frozen=True, slots=True)
class Verified:
    """What was read, and every problem as a sentence; a sound folder has none."""

    num_shards: int
    num_samples: int
    num_members: int
    num_bytes: int
    problems: tuple[str, ...]


def verify_shards(folder: Path, *, tick: Callable[[int], None] = lambda _: None) -> Verified:
    """Check each shard's size, checksum and structure, where each member is, and decode each photo with its maps. `tick` gets the samples read.

    Raises:
        ShardError: there is no complete shard folder at all.
    """
    reader = open_shards(folder)
    manifest = reader.manifest
    problems: list[str] = []
    first = num_members = 0
    for place, shard in enumerate(manifest.shards):
        path = folder / shard.name
        problems.extend(_file_problems(path, shard=shard))
        try:
            problems.extend(_structure_problems(reader, place=place, path=path))
        except ShardError as error:
            problems.append(str(error))
            tick(shard.num_samples)
        else:
            for index in range(first, first + shard.num_samples):
                num_members += _check_sample(reader, index=index, problems=problems)
                tick(1)
        first += shard.num_samples
    return Verified(
        num_shards=len(manifest.shards),
        num_samples=manifest.num_samples,
        num_members=num_members,
        num_bytes=manifest.num_bytes,
        problems=tuple(dict.fromkeys(problems)),
    )


def _file_problems(path: Path, *, shard: ShardEntry) -> Iterator[str]:
    try:
        num_bytes, sha256 = path.stat().st_size, sha256_of(path)
    except OSError as error:
        yield f"{path} cannot be read ({error.strerror})"
        return
    if num_bytes != shard.num_bytes:
        yield f"{path} has {num_bytes} bytes, its manifest says {shard.num_bytes}"
    elif sha256 != shard.sha256:
        yield f"{path} has another SHA-256 than its manifest says"


def _structure_problems(reader: SampleReader, *, place: int, path: Path) -> Iterator[str]:
    """What the tar's index or the FFCV file's tables say that is not so. Raises ShardError where they cannot be read at all."""
    if isinstance(reader, WebDatasetReader):
        return _tar_problems(path, index=reader.read_index(place))
    assert isinstance(reader, FfcvReader)
    beton = reader.shard(place)
    keys = [beton.key(row) for row in range(beton.beton.num_samples)]
    return (f"{path}: two samples have the key {key}" for key in sorted({key for key in keys if keys.count(key) > 1}))


def _tar_problems(path: Path, *, index: ShardIndex) -> Iterator[str]:
    listed = {f"{sample.key}.{name}": extent for sample in index for name, extent in sample.members.items()}
    try:
        with tarfile.open(path) as tar:
            found = {member.name: (member.offset_data, member.size) for member in tar}
    except (tarfile.TarError, OSError, EOFError) as error:
        yield f"{path} is no readable tar ({first_line(error)})"
        return
    yield from (f"{path}: {name} is not where the manifest says" for name in sorted(listed.keys() | found.keys()) if listed.get(name) != found.get(name))


def _check_sample(reader: SampleReader, *, index: int, problems: list[str]) -> int:
    """Decode everything a sample has; the number of its members."""
    try:
        members = reader.members(index)
        with_segments = SEGMENTS_MEMBER in members
        raw = reader.read(index, with_segments=with_segments)
        check_raw(raw)
        decode_sample(raw, with_segments=with_segments)
        parse_json(members.get(INFO_MEMBER, b"{}"))
    except ShardError as error:
        problems.append(str(error))
    except json.JSONDecodeError as error:
        problems.append(f"sample {reader.key(index)}: its json cannot be read ({first_line(error)})")
    except UnicodeDecodeError as error:
        problems.append(f"sample {reader.key(index)}: its json is no text ({first_line(error)})")
    else:
        return len(members)
    return 0
