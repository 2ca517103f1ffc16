"""Verify: read every byte of a shard folder again and say what does not fit its manifest."""

import json
import tarfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from mcdist.data.check_sample import check_raw
from mcdist.data.manifest import ShardEntry
from mcdist.data.read_webdataset import ShardFolder
from mcdist.data.sample import SEGMENTS_MEMBER, decode_sample
from mcdist.data.shard_index import SampleEntry, ShardIndex
from mcdist.errors import ShardError
from shards.photo_file import first_line
from shards.write_webdataset import sha256_of


@dataclass(frozen=True, slots=True)
class Verified:
    """What was read, and every problem as a sentence; a sound folder has none."""

    num_shards: int
    num_samples: int
    num_members: int
    num_bytes: int
    problems: tuple[str, ...]


def verify_shards(folder: Path, *, tick: Callable[[int], None] = lambda _: None) -> Verified:
    """Check each tar's size, checksum and structure, each member's extent, and decode each photo with its maps. `tick` gets the samples read.

    Raises:
        ShardError: there is no complete shard folder at all.
    """
    reader = ShardFolder(folder)
    manifest = reader.manifest
    problems: list[str] = []
    first = num_members = 0
    for place, shard in enumerate(manifest.shards):
        try:
            index = reader.read_index(place)
        except ShardError as error:
            problems.append(str(error))
        else:
            num_members += sum(len(entry.members) for entry in index)
            problems.extend(_tar_problems(folder / shard.name, shard=shard, index=index))
            problems.extend(problem for number, entry in enumerate(index) for problem in _sample_problems(reader, index=first + number, entry=entry, tick=tick))
        first += shard.num_samples
    return Verified(
        num_shards=len(manifest.shards),
        num_samples=manifest.num_samples,
        num_members=num_members,
        num_bytes=manifest.num_bytes,
        problems=tuple(dict.fromkeys(problems)),
    )


def _tar_problems(path: Path, *, shard: ShardEntry, index: ShardIndex) -> Iterator[str]:
    try:
        num_bytes, sha256 = path.stat().st_size, sha256_of(path)
    except OSError as error:
        yield f"{path} cannot be read ({error.strerror})"
        return
    if num_bytes != shard.num_bytes:
        yield f"{path} has {num_bytes} bytes, its manifest says {shard.num_bytes}"
    elif sha256 != shard.sha256:
        yield f"{path} has another SHA-256 than its manifest says"
    listed = {f"{sample.key}.{name}": extent for sample in index for name, extent in sample.members.items()}
    try:
        with tarfile.open(path) as tar:
            found = {member.name: (member.offset_data, member.size) for member in tar}
    except (tarfile.TarError, OSError, EOFError) as error:
        yield f"{path} is no readable tar ({first_line(error)})"
        return
    yield from (f"{path}: {name} is not where the manifest says" for name in sorted(listed.keys() | found.keys()) if listed.get(name) != found.get(name))


def _sample_problems(reader: ShardFolder, *, index: int, entry: SampleEntry, tick: Callable[[int], None]) -> Iterator[str]:
    tick(1)
    with_segments = SEGMENTS_MEMBER in entry.members
    try:
        raw = reader.read(index, with_segments=with_segments)
        check_raw(raw)
        decode_sample(raw, with_segments=with_segments)
    except ShardError as error:
        yield str(error)
    except json.JSONDecodeError as error:
        yield f"sample {entry.key}: its json cannot be read ({first_line(error)})"
    except UnicodeDecodeError as error:
        yield f"sample {entry.key}: its json is no text ({first_line(error)})"
