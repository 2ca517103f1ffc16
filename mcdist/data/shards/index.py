"""ShardIndex: which samples one tar holds and where each of their members is, as kept beside the tar.

Columns, not rows: a few arrays a shard, so that an open index costs a few dozen bytes a sample. docs/formats.md specifies the file.
"""

import json
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy
from jaxtyping import Int64

from mcdist.data.shards.manifest import SCHEMA_VERSION, ShardEntry
from mcdist.errors import DAMAGE, ShardError
from mcdist.json_text import parse_json

INDEX_SUFFIX = ".index.json"

Extent = tuple[int, int]
"""(offset, size) in bytes of one member's content inside its tar."""

_ABSENT = (-1, -1)


@dataclass(frozen=True, slots=True)
class SampleEntry:
    """One sample: its key and the extent of every member (`jpg` or `png`, `mask.png`, optional `seg.png`, `json`)."""

    key: str
    members: dict[str, Extent]


@dataclass(frozen=True, slots=True)
class ShardIndex:
    """The samples of one tar, in tar order. `extents[name][i]` is (offset, size) of member `name` of sample i, or (-1, -1) where it has none."""

    keys: tuple[str, ...]
    extents: dict[str, Int64[numpy.ndarray, "N 2"]]

    def __len__(self) -> int:
        return len(self.keys)

    def __iter__(self) -> Iterator[SampleEntry]:
        return (self.entry(place) for place in range(len(self)))

    def entry(self, place: int) -> SampleEntry:
        """The sample at `place`, counted from 0 within the shard."""
        found = {name: (int(column[place, 0]), int(column[place, 1])) for name, column in self.extents.items()}
        return SampleEntry(key=self.keys[place], members={name: extent for name, extent in found.items() if extent != _ABSENT})


def index_name(shard_name: str) -> str:
    """The index's file name: `shard-000000.tar` has `shard-000000.index.json`."""
    return shard_name.removesuffix(".tar") + INDEX_SUFFIX


def encode_index(shard_name: str, *, samples: Sequence[SampleEntry]) -> bytes:
    """The index as JSON: sorted keys, so equal shards give an equal file."""
    names = sorted({name for sample in samples for name in sample.members})
    content = {
        "schema_version": SCHEMA_VERSION,
        "shard": shard_name,
        "keys": [sample.key for sample in samples],
        "members": {name: [sample.members.get(name) for sample in samples] for name in names},
    }
    return json.dumps(content, sort_keys=True, separators=(",", ":")).encode() + b"\n"


def parse_index(content: bytes, *, shard: ShardEntry, where: str) -> ShardIndex:
    """The index that `content` is, checked against its shard's entry in the manifest.

    Raises:
        ShardError: another schema version, another shard, another number of samples, two equal keys, an extent outside the tar, or damage.
    """
    try:
        fields = parse_json(content)
        version = fields["schema_version"]
        if version != SCHEMA_VERSION:
            raise ValueError(f"its schema version is {version}, the manifest's is {SCHEMA_VERSION}: the folder mixes two builds")
        if fields["shard"] != shard.name or len(fields["keys"]) != shard.num_samples:
            raise ValueError(f"it lists {len(fields['keys'])} samples of {fields['shard']}, the manifest {shard.num_samples} of {shard.name}")
        keys = tuple(_key(key) for key in fields["keys"])
        if len(set(keys)) != len(keys):
            raise ValueError(f"the key {Counter(keys).most_common(1)[0][0]} comes twice")
        extents = {str(name): _column(column, num_samples=len(keys), num_bytes=shard.num_bytes) for name, column in fields["members"].items()}
    except DAMAGE as error:
        raise ShardError(f"{where} is no index of its shard ({error}); build the shards again with --overwrite, or copy the folder again") from error
    return ShardIndex(keys=keys, extents=extents)


def _key(key: Any) -> str:
    if not isinstance(key, str) or not key:
        raise ValueError(f"{key!r} is no key")
    return key


def _column(column: Any, *, num_samples: int, num_bytes: int) -> Int64[numpy.ndarray, "N 2"]:
    if len(column) != num_samples:
        raise ValueError(f"a member is listed for {len(column)} of {num_samples} samples")
    return numpy.array([_ABSENT if extent is None else _extent(extent, num_bytes=num_bytes) for extent in column], dtype=numpy.int64).reshape(-1, 2)


def _extent(extent: Any, *, num_bytes: int) -> Extent:
    offset, size = extent
    if type(offset) is not int or type(size) is not int or not 0 <= offset <= offset + size <= num_bytes:
        raise ValueError(f"extent {offset}, {size} leaves its shard of {num_bytes} bytes")
    return offset, size
