"""BetonFile: the photos, maps and other members of one FFCV file, by row; photos kept as pixels need no decoder."""

import mmap
import os

import numpy
from jaxtyping import UInt8

from mcdist.choices import FfcvCache
from mcdist.data.files.files import ShardFiles
from mcdist.data.shards.beton import RAW, Beton, read_beton
from mcdist.data.shards.beton_fields import ABSENT, JSON_FIELDS, KEY_FIELD, OWN_FIELDS, PHOTO_FIELD, TERMINATOR
from mcdist.data.shards.manifest import ShardEntry
from mcdist.data.shards.raw_sample import INSTANCES_MEMBER, SEGMENTS_MEMBER, RawSample
from mcdist.errors import ShardError
from mcdist.json_text import parse_json


class BetonFile:
    """One open file, its tables checked, so that no offset leaves it. `cache` as `FfcvReader`."""

    def __init__(self, files: ShardFiles, *, shard: ShardEntry, cache: FfcvCache) -> None:
        """Raises ShardError where the file is damaged or not what the manifest says."""
        self.files, self.shard = files, shard
        self.where = f"{files.name}/{shard.name}"
        with files.open(shard) as descriptor:
            self.beton: Beton = read_beton(descriptor, where=self.where)
            self._check()
            # A private copy on write: torch needs memory that it could write to, and nobody does. A map would hold what a bounded cache evicts.
            self._map = mmap.mmap(descriptor, 0, access=mmap.ACCESS_COPY) if cache == "os" and not files.fetches else None

    def _check(self) -> None:
        num_samples, names = self.shard.num_samples, sorted(self.beton.extents)
        if self.beton.num_samples != num_samples or not {KEY_FIELD, INSTANCES_MEMBER} <= set(names):
            expected = f"{num_samples} samples with {KEY_FIELD} and {INSTANCES_MEMBER}"
            raise ShardError(f"{self.where}: expected {expected}, found {self.beton.num_samples} with {', '.join(names)}; build the folder anew")

    def read(self, row: int, *, with_segments: bool) -> RawSample:
        """The sample, its photo as a file or as pixels; ground truth is read only when asked for."""
        fields = [PHOTO_FIELD, KEY_FIELD, INSTANCES_MEMBER] + ([SEGMENTS_MEMBER] if with_segments and SEGMENTS_MEMBER in self.beton.extents else [])
        content = self._contents(row, fields)
        key = self._key(content[KEY_FIELD], row=row)
        where = f"{self.where}, sample {key} (photo at byte {self.beton.extents[PHOTO_FIELD].offsets[row]})"
        return RawSample(
            key=key,
            where=where,
            photo=self._pixels(content[PHOTO_FIELD], row=row) if self.beton.modes[row] == RAW else bytes(content[PHOTO_FIELD]),
            instances=bytes(content[INSTANCES_MEMBER]),
            segments=_member(SEGMENTS_MEMBER, content[SEGMENTS_MEMBER]) if SEGMENTS_MEMBER in fields else None,
        )

    def members(self, row: int) -> dict[str, bytes]:
        """Every member as a WebDataset sample holds it, by name. No photo among them: only its pixels were kept."""
        content = self._contents(row, list(self.beton.extents))
        found = {name: _member(name, value) for name, value in content.items() if name not in OWN_FIELDS}
        members = {name: value for name, value in found.items() if value is not None}
        members |= {name: str(values[row]).encode() for name, values in self.beton.numbers.items()}
        return members if self.beton.modes[row] == RAW else {"jpg": bytes(content[PHOTO_FIELD]), **members}

    def key(self, row: int) -> str:
        """The sample's key."""
        return self._key(self._contents(row, [KEY_FIELD])[KEY_FIELD], row=row)

    def num_with(self, member: str) -> int:
        """How many samples have the member, without reading any."""
        if member in self.beton.numbers:
            return self.beton.num_samples
        return int(numpy.count_nonzero(self.beton.extents[member].sizes > len(ABSENT))) if member in self.beton.extents else 0

    def _key(self, content: memoryview, *, row: int) -> str:
        try:
            key = parse_json(_member(KEY_FIELD, content) or b"null")
        except ValueError:
            key = None
        if not isinstance(key, str) or not key:
            raise ShardError(f"{self.where}, sample {row}: its key cannot be read; build the folder anew")
        return key

    def _pixels(self, content: memoryview, *, row: int) -> UInt8[numpy.ndarray, "H W 3"]:
        """Where the file is mapped this reads nothing yet: cutting a view out fetches the rows that it covers."""
        return numpy.frombuffer(content, dtype=numpy.uint8).reshape(int(self.beton.heights[row]), int(self.beton.widths[row]), 3)

    def _contents(self, row: int, fields: list[str]) -> dict[str, memoryview]:
        """The bytes of some fields of a sample. They are side by side, so where the file is not mapped one read fetches them."""
        extents = {name: (self.beton.extents[name].offsets.item(row), self.beton.extents[name].sizes.item(row)) for name in fields}
        if self._map is not None:
            start, content = 0, memoryview(self._map)
        else:
            start = min(offset for offset, _ in extents.values())
            content = memoryview(self._read(start, max(offset + size for offset, size in extents.values()), row=row))
        return {name: content[offset - start : offset - start + size] for name, (offset, size) in extents.items()}

    def _read(self, start: int, end: int, *, row: int) -> bytearray:
        content = bytearray(end - start)
        try:
            with self.files.open(self.shard) as descriptor:
                num_read = os.preadv(descriptor, [content], start)
        except OSError as error:
            raise ShardError(f"{self.where}, sample {row}: cannot be read ({error.strerror}); check the disk, then: {self._check_command}") from error
        if num_read != len(content):
            raise ShardError(f"{self.where}, sample {row}: expected {len(content)} bytes from byte {start} on, found {num_read}; check: {self._check_command}")
        return content

    @property
    def _check_command(self) -> str:
        return f"mcdist shards verify {self.files.name}"


def _member(name: str, content: memoryview) -> bytes | None:
    """A member's bytes; None where the sample has none of this name."""
    value = bytes(content).removesuffix(TERMINATOR) if name in JSON_FIELDS else bytes(content)
    return value if value and value != ABSENT else None
