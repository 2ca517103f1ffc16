"""Verify: read every byte of a shard folder again and say what does not fit its manifest."""

import json
import tarfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from mcdist.data.manifest import SampleEntry, ShardEntry, read_manifest
from mcdist.data.read_webdataset import ShardFolder
from mcdist.data.sample import SEGMENTS_MEMBER, decode_sample
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
    manifest = read_manifest(folder)
    reader = ShardFolder(folder)
    problems: list[str] = []
    first = 0
    for shard in manifest.shards:
        problems.extend(_tar_problems(folder / shard.name, shard=shard))
        for index in range(first, first + len(shard.samples)):
            problems.extend(_sample_problems(reader, index=index, entry=shard.samples[index - first]))
            tick(1)
        first += len(shard.samples)
    return Verified(
        num_shards=len(manifest.shards),
        num_samples=manifest.num_samples,
        num_members=sum(len(sample.members) for shard in manifest.shards for sample in shard.samples),
        num_bytes=sum(shard.num_bytes for shard in manifest.shards),
        problems=tuple(dict.fromkeys(problems)),
    )


def _tar_problems(path: Path, *, shard: ShardEntry) -> Iterator[str]:
    try:
        num_bytes, sha256 = path.stat().st_size, sha256_of(path)
    except OSError as error:
        yield f"{path} cannot be read ({error.strerror})"
        return
    if num_bytes != shard.num_bytes:
        yield f"{path} has {num_bytes} bytes, its manifest says {shard.num_bytes}"
    elif sha256 != shard.sha256:
        yield f"{path} has another SHA-256 than its manifest says"
    listed = {f"{sample.key}.{name}": extent for sample in shard.samples for name, extent in sample.members.items()}
    try:
        with tarfile.open(path) as tar:
            found = {member.name: (member.offset_data, member.size) for member in tar}
    except (tarfile.TarError, OSError, EOFError) as error:
        yield f"{path} is no readable tar ({first_line(error)})"
        return
    yield from (f"{path}: {name} is not where the manifest says" for name in sorted(listed.keys() | found.keys()) if listed.get(name) != found.get(name))


def _sample_problems(reader: ShardFolder, *, index: int, entry: SampleEntry) -> Iterator[str]:
    with_segments = SEGMENTS_MEMBER in entry.members
    try:
        decode_sample(reader.read(index, with_segments=with_segments), with_segments=with_segments)
    except ShardError as error:
        yield str(error)
    except json.JSONDecodeError as error:
        yield f"sample {entry.key}: its json cannot be read ({first_line(error)})"
    except UnicodeDecodeError as error:
        yield f"sample {entry.key}: its json is no text ({first_line(error)})"
