"""FfcvFolder: any sample of a folder of FFCV files by its index, straight from the files' tables; photos kept as pixels need no decoder.

Reading needs no ffcv: its Loader opens one file, compiles 5 to 13 s, draws its own crops and stops with a stack trace (or reads past the end of a buffer)
where a file is damaged. Here the files take part in the run's own order, lanes and workers, and the views are those of any other shard.
"""

import json
import mmap
import os
from bisect import bisect_right
from itertools import accumulate
from pathlib import Path
from typing import Literal

import torch
from jaxtyping import UInt8
from torch import Tensor

from mcdist.data.beton import RAW, Beton, read_beton
from mcdist.data.manifest import Manifest, read_manifest
from mcdist.data.sample import INFO_MEMBER, INSTANCES_MEMBER, SEGMENTS_MEMBER, RawSample
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


class FfcvFolder:
    """Samples in manifest order: index 0 is the first sample of the first file. Safe to share between worker processes.

    `cache`: `os` maps the files, so that a crop of a photo kept as pixels fetches its own rows only and all processes share the system's cache;
    `process` reads each sample's bytes into the process, which suits network disks and files that may vanish under a run.
    """

    def __init__(self, folder: Path, *, cache: Cache = "os") -> None:
        """Raises ShardError where the folder is missing, unfinished, empty or of another schema version."""
        self.folder = folder
        self.cache: Cache = cache
        self.manifest: Manifest = read_manifest(folder)
        if not self.manifest.num_samples:
            raise ShardError(f"expected samples in {folder}, the manifest lists none; see its `skipped` list for why and build again")
        self._ends = list(accumulate(len(shard.samples) for shard in self.manifest.shards))
        self._files: dict[int, _File] = {}

    def __getstate__(self) -> dict[str, object]:
        """A worker opens its own files."""
        return {**self.__dict__, "_files": {}}

    def __len__(self) -> int:
        return self.manifest.num_samples

    def key(self, index: int) -> str:
        """The sample's key, without reading its bytes."""
        shard_index, row = self._place(index)
        return self.manifest.shards[shard_index].samples[row].key

    def read(self, index: int, *, with_segments: bool = False) -> RawSample:
        """The photo as JPEG bytes or as pixels, the map likewise. Ground truth is read only when asked for: training never does."""
        file, row, where = self._sample(index)
        return RawSample(
            key=self.key(index),
            where=where,
            photo=file.photo(row, where=where),
            instances=file.instances(row, where=where),
            segments=file.member(row, SEGMENTS_MEMBER, where=where) if with_segments else None,
        )

    def members(self, index: int) -> dict[str, bytes]:
        """Every member as a WebDataset sample holds it, by name. No photo among them: only its pixels were kept."""
        file, row, where = self._sample(index)
        return file.members(row, where=where)

    def stored_key(self, index: int) -> str:
        """The key as the file itself holds it."""
        file, row, where = self._sample(index)
        return file.key(row, where=where)

    def _place(self, index: int) -> tuple[int, int]:
        if not 0 <= index < len(self):
            raise IndexError(f"sample {index} of {len(self)} in {self.folder}")
        shard_index = bisect_right(self._ends, index)
        return shard_index, index - (self._ends[shard_index - 1] if shard_index else 0)

    def _sample(self, index: int) -> "tuple[_File, int, str]":
        shard_index, row = self._place(index)
        if shard_index not in self._files:
            shard = self.manifest.shards[shard_index]
            self._files[shard_index] = _File(read_beton(self.folder / shard.name), cache=self.cache, num_samples=len(shard.samples))
        file = self._files[shard_index]
        return file, row, f"{file.beton.path}, sample {self.key(index)}"


class _File:
    """One open file. Its tables have been checked, so that no offset leaves it."""

    def __init__(self, beton: Beton, *, cache: Cache, num_samples: int) -> None:
        self.beton = beton
        missing = {KEY_FIELD, INSTANCES_MEMBER} - beton.extents.keys()
        if missing or beton.num_samples != num_samples:
            wanted = f"{num_samples} samples with {KEY_FIELD} and {INSTANCES_MEMBER}"
            raise ShardError(f"{beton.path}: expected {wanted}, found {beton.num_samples} with {sorted(beton.extents)}; build the folder anew")
        try:
            self._descriptor = os.open(beton.path, os.O_RDONLY)
            # A private copy on write: torch wants memory that it could write to, and nobody does.
            self._map = mmap.mmap(self._descriptor, 0, access=mmap.ACCESS_COPY) if cache == "os" else None
        except OSError as error:
            raise ShardError(f"{beton.path} cannot be opened ({error.strerror}); check the disk") from error

    def __del__(self) -> None:
        if hasattr(self, "_descriptor"):
            os.close(self._descriptor)

    def photo(self, row: int, *, where: str) -> bytes | UInt8[Tensor, "3 H W"]:
        """A JPEG file, or pixels."""
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
        """See `FfcvFolder.members`."""
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

    def key(self, row: int, *, where: str) -> str:
        """The key in the file."""
        try:
            return str(json.loads(self.member(row, KEY_FIELD, where=where) or b"null"))
        except (ValueError, RecursionError) as error:
            raise ShardError(f"{where}: its key cannot be read ({error}); build the folder anew") from error

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
            read = os.preadv(self._descriptor, [content], offset)
        except OSError as error:
            raise ShardError(
                f"{where}: cannot read {field} ({error.strerror}); check the disk, then: python -m shards verify {self.beton.path.parent}"
            ) from error
        if read != size:
            raise ShardError(f"{where}: {field} should be {size} bytes, the file ends after {read}; check: python -m shards verify {self.beton.path.parent}")
        return content
