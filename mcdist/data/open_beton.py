"""OpenBeton: the photos, maps and other members of one FFCV file, by row; photos kept as pixels need no decoder."""

import json
import mmap
import os
from typing import Literal

import numpy
import torch
from jaxtyping import UInt8
from torch import Tensor

from mcdist.data.beton import RAW, Beton, read_beton
from mcdist.data.manifest import ShardEntry
from mcdist.data.sample import INFO_MEMBER, INSTANCES_MEMBER
from mcdist.data.shard_files import ShardFiles
from mcdist.errors import ShardError

PHOTO_FIELD = "photo"
KEY_FIELD = "key"
INSTANCES_FIELD = "instances"
"""The instance map's pixels as its PNG holds them, beside a photo kept as pixels: a view takes a few of them, and nothing is decoded."""

OWN_FIELDS = (PHOTO_FIELD, KEY_FIELD, INSTANCES_FIELD)
"""Every other field is a member of the sample, under its own name."""

LABEL_MEMBER = "cls"
"""WebDataset's name for a class label, a number in text."""

JSON_FIELDS = (KEY_FIELD, INFO_MEMBER)
TERMINATOR = b"\0"
"""Ends the text of FFCV's JSON fields."""

ABSENT = b"\0"
"""What a sample holds in a field that only others have: FFCV has no empty field."""

Cache = Literal["os", "process"]


class OpenBeton:
    """One file, its tables checked, so that no offset leaves it. `cache` as `FfcvFolder`."""

    def __init__(self, files: ShardFiles, *, shard: ShardEntry, cache: Cache) -> None:
        """Raises ShardError where the file is damaged or not what the manifest says."""
        self.files, self.shard = files, shard
        self.where = f"{files.name}/{shard.name}"
        with files.open(shard) as descriptor:
            self.beton: Beton = read_beton(descriptor, where=self.where)
            self._check()
            # A private copy on write: torch wants memory that it could write to, and nobody does.
            self._map = mmap.mmap(descriptor, 0, access=mmap.ACCESS_COPY) if cache == "os" else None

    def _check(self) -> None:
        num_samples, names = self.shard.num_samples, sorted(self.beton.extents)
        if self.beton.num_samples != num_samples or not {KEY_FIELD, INSTANCES_MEMBER} <= set(names):
            wanted = f"{num_samples} samples with {KEY_FIELD} and {INSTANCES_MEMBER}"
            raise ShardError(f"{self.where}: expected {wanted}, found {self.beton.num_samples} with {', '.join(names)}; build the folder anew")

    def key(self, row: int) -> str:
        """The sample's key."""
        try:
            key = json.loads(self.member(row, KEY_FIELD, where=self.where) or b"null")
        except (ValueError, RecursionError):
            key = None
        if not isinstance(key, str) or not key:
            raise ShardError(f"{self.where}, sample {row}: its key cannot be read; build the folder anew")
        return key

    def photo(self, row: int, *, where: str) -> bytes | UInt8[Tensor, "3 H W"]:
        """A JPEG file, or pixels, whose memory runs along the colours first."""
        if self.beton.modes[row] != RAW:
            return bytes(self._bytes(PHOTO_FIELD, row, where=where))
        return self._pixels(PHOTO_FIELD, row, where=where).view(*self._size(row), 3).permute(2, 0, 1)

    def instances(self, row: int, *, where: str) -> bytes | UInt8[Tensor, "H W"]:
        """A PNG file, or its pixels where the file holds them."""
        if self.beton.modes[row] != RAW or INSTANCES_FIELD not in self.beton.extents:
            content = self.member(row, INSTANCES_MEMBER, where=where)
            if content is None:
                raise ShardError(f"{where}: expected {INSTANCES_MEMBER}, found none; build the folder anew")
            return content
        height, width = self._size(row)
        pixels = self._pixels(INSTANCES_FIELD, row, where=where)
        if len(pixels) != height * width:
            raise ShardError(f"{where}: the instance map has {len(pixels)} pixels, its photo {width} x {height}; build the folder anew")
        return pixels.view(height, width)

    def members(self, row: int, *, where: str) -> dict[str, bytes]:
        """Every member as a WebDataset sample holds it, by name. No photo among them: only its pixels were kept."""
        found = {name: self.member(row, name, where=where) for name in self.beton.extents if name not in OWN_FIELDS}
        members = {name: content for name, content in found.items() if content is not None}
        members |= {name: str(values[row]).encode() for name, values in self.beton.numbers.items()}
        return members if self.beton.modes[row] == RAW else {"jpg": bytes(self._bytes(PHOTO_FIELD, row, where=where)), **members}

    def member(self, row: int, name: str, *, where: str) -> bytes | None:
        """A member's bytes; None where the sample has none of this name."""
        if name not in self.beton.extents:
            return None
        content = bytes(self._bytes(name, row, where=where))
        if name in JSON_FIELDS:
            content = content.removesuffix(TERMINATOR)
        return content if content and content != ABSENT else None

    def num_with(self, member: str) -> int:
        """How many samples have the member, without reading any."""
        return int(numpy.count_nonzero(self.beton.extents[member].sizes > len(ABSENT))) if member in self.beton.extents else 0

    def _size(self, row: int) -> tuple[int, int]:
        return int(self.beton.heights[row]), int(self.beton.widths[row])

    def _pixels(self, field: str, row: int, *, where: str) -> UInt8[Tensor, " N"]:
        return torch.frombuffer(self._bytes(field, row, where=where), dtype=torch.uint8)

    def _bytes(self, field: str, row: int, *, where: str) -> memoryview | bytearray:
        extents = self.beton.extents[field]
        offset, size = int(extents.offsets[row]), int(extents.sizes[row])
        if self._map is not None:
            return memoryview(self._map)[offset : offset + size]
        content = bytearray(size)
        try:
            with self.files.open(self.shard) as descriptor:
                read = os.preadv(descriptor, [content], offset)
        except OSError as error:
            raise ShardError(f"{where}: cannot read {field} ({error.strerror}); check the disk, then: python -m shards verify {self.files.name}") from error
        if read != size:
            raise ShardError(f"{where}: {field} should be {size} bytes, the file ends after {read}; check with: python -m shards verify {self.files.name}")
        return content
