"""Beton: the layout of FFCV's file, version 2, and every check before anything in it is believed.

The layout is a few plain tables, so neither writing nor reading needs the package ffcv, and no code runs from a file: field types are numbers from a
fixed list, and the arguments a field could carry are not read.
"""

import os
from dataclasses import dataclass

import numpy
from jaxtyping import Bool, Int64, Shaped, UInt8

from mcdist.errors import ShardError

VERSION = 2
MIN_PAGE_BYTES = 2**21
"""FFCV's own least page."""

HEADER = numpy.dtype([("version", "<u2"), ("num_fields", "<u2"), ("page_size", "<u4"), ("num_samples", "<u8"), ("alloc_table_ptr", "<u8")])
FIELD = numpy.dtype([("type_id", "u1"), ("name", "S16"), ("arguments", "V1024")])
ALLOCATION = numpy.dtype([("sample_id", "<u8"), ("ptr", "<u8"), ("size", "<u8")])

INT, PHOTO, BYTES, JSON = 1, 2, 3, 5
"""FFCV's numbers for IntField, RGBImageField, BytesField and JSONField."""

JPEG, RAW = 0, 1
"""How a photo is kept: as a JPEG file, or as RGB pixels, rows from the top."""

_POINTER = numpy.dtype([("ptr", "<u8"), ("size", "<u8")])
COLUMNS = {
    INT: numpy.dtype("<i8"),
    PHOTO: numpy.dtype([("mode", "u1"), ("width", "<u2"), ("height", "<u2"), ("ptr", "<u8")]),
    BYTES: _POINTER,
    JSON: _POINTER,
}
"""What a sample's row of the metadata table holds of a field."""

_MAX_FIELDS = 64


@dataclass(frozen=True, slots=True)
class Extents:
    """Where a field's bytes are in the file, for every sample."""

    offsets: Int64[numpy.ndarray, " N"]
    sizes: Int64[numpy.ndarray, " N"]


@dataclass(frozen=True, slots=True)
class Beton:
    """A checked file: `extents` of every field that has bytes, `numbers` of every integer field, and each photo's mode and upright size in px."""

    num_samples: int
    extents: dict[str, Extents]
    numbers: dict[str, Int64[numpy.ndarray, " N"]]
    modes: UInt8[numpy.ndarray, " N"]
    widths: Int64[numpy.ndarray, " N"]
    heights: Int64[numpy.ndarray, " N"]


def row_type(type_ids: list[int]) -> numpy.dtype:
    """A row of the metadata table: the fields' columns `f0`, `f1`, ... as a C compiler would lay them out, which only moves an integer to 8 bytes."""
    return numpy.dtype([("", COLUMNS[type_id]) for type_id in type_ids], align=True)


def read_beton(descriptor: int, *, where: str) -> Beton:
    """Read and check all tables of an open file, which messages call `where`; its photos and maps stay where they are.

    Raises:
        ShardError: unreadable, cut short, of another version, with tables or bytes that leave the file, or without an RGB image field `photo`.
    """
    try:
        return _Reader(descriptor, where=where).read()
    except OSError as error:
        raise ShardError(f"{where} cannot be read ({error.strerror}); check the disk and the file's permissions") from error


class _Reader:
    """One pass over the tables. Sizes are whole numbers of Python until they are known to be small: a hostile file may claim 2^64 samples."""

    def __init__(self, descriptor: int, *, where: str) -> None:
        self.descriptor = descriptor
        self.where = where
        self.num_bytes = os.fstat(descriptor).st_size

    def read(self) -> Beton:
        header = self._table(HEADER, count=1, offset=0, what="header")[0]
        num_samples, table_at = int(header["num_samples"]), int(header["alloc_table_ptr"])
        self._want(int(header["version"]) == VERSION, f"expected version {VERSION} of FFCV's format, found {header['version']}")
        self._want(1 <= int(header["num_fields"]) <= _MAX_FIELDS, f"expected 1 to {_MAX_FIELDS} fields, the header claims {header['num_fields']}")
        fields = self._table(FIELD, count=int(header["num_fields"]), offset=HEADER.itemsize, what="list of fields")
        names = self._names(fields)
        row = row_type([int(field["type_id"]) for field in fields])
        rows_at = HEADER.itemsize + fields.nbytes
        rows = self._table(row, count=num_samples, offset=rows_at, what="metadata table")
        left, rest = divmod(self.num_bytes - table_at, ALLOCATION.itemsize)
        data_at = rows_at + rows.nbytes
        self._want(data_at <= table_at <= self.num_bytes and not rest, f"its allocation table cannot start at byte {table_at} of {self.num_bytes}")
        allocations = self._table(ALLOCATION, count=left, offset=table_at, what="allocation table")
        self._check_allocations(allocations, num_samples=num_samples, data_at=data_at, table_at=table_at)
        return self._beton(dict(zip(names, zip(fields["type_id"].tolist(), row.names or (), strict=True), strict=True)), rows=rows, allocations=allocations)

    def _names(self, fields: Shaped[numpy.ndarray, " F"]) -> list[str]:
        unknown = [int(type_id) for type_id in fields["type_id"] if int(type_id) not in COLUMNS]
        self._want(not unknown, f"expected integer, RGB image, bytes and JSON fields, found field type {unknown[:1]}")
        names = [bytes(name).decode("ascii", errors="replace") for name in fields["name"]]
        types = dict(zip(names, fields["type_id"].tolist(), strict=True))
        self._want(len(types) == len(names), f"two of its fields have one name: {sorted(names)}")
        self._want(types.get("photo") == PHOTO and list(types.values()).count(PHOTO) == 1, f"expected one RGB image field, photo, found {sorted(names)}")
        return names

    def _check_allocations(self, allocations: Shaped[numpy.ndarray, " A"], *, num_samples: int, data_at: int, table_at: int) -> None:
        pointers, sizes = allocations["ptr"], allocations["size"]
        inside = (pointers >= data_at) & (pointers <= table_at) & (sizes > 0) & (sizes <= table_at - numpy.minimum(pointers, table_at))
        self._want(bool(inside.all()), f"its allocation table leads out of the data (entry {_first(~inside)}, bytes {data_at} to {table_at})")
        self._want(bool((allocations["sample_id"] < num_samples).all()), f"its allocation table names more than its {num_samples} samples")
        self._want(len(numpy.unique(pointers)) == len(pointers), "two entries of its allocation table start at one byte")

    def _beton(self, columns: dict[str, tuple[int, str]], *, rows: Shaped[numpy.ndarray, " N"], allocations: Shaped[numpy.ndarray, " A"]) -> Beton:
        found = allocations[numpy.argsort(allocations["ptr"], kind="stable")]
        extents = {name: self._extents(name, rows[column]["ptr"], allocations=found) for name, (type_id, column) in columns.items() if type_id != INT}
        for name, (type_id, column) in columns.items():
            if type_id in (BYTES, JSON):
                self._want_rows(rows[column]["size"] == extents[name].sizes.astype(numpy.uint64), f"{name} has another size than its allocation")
        photo = rows[columns["photo"][1]]
        widths, heights = photo["width"].astype(numpy.int64), photo["height"].astype(numpy.int64)
        self._want_rows(photo["mode"] <= RAW, "its photo is neither JPEG nor pixels")
        self._want_rows(widths * heights > 0, "its photo has no pixels")
        self._want_rows((photo["mode"] == JPEG) | (extents["photo"].sizes == 3 * widths * heights), "its photo's pixels do not fill its size")
        numbers = {name: rows[column].astype(numpy.int64) for name, (type_id, column) in columns.items() if type_id == INT}
        return Beton(num_samples=len(rows), extents=extents, numbers=numbers, modes=photo["mode"].astype(numpy.uint8), widths=widths, heights=heights)

    def _extents(self, name: str, pointers: Shaped[numpy.ndarray, " N"], *, allocations: Shaped[numpy.ndarray, " A"]) -> Extents:
        """The allocation that starts where the sample says, which has to be the sample's own."""
        place = numpy.searchsorted(allocations["ptr"], pointers)
        known = place < len(allocations)
        self._want_rows(known, f"{name} is not in the allocation table")
        taken = allocations[place]
        own = (taken["ptr"] == pointers) & (taken["sample_id"] == numpy.arange(len(pointers), dtype=numpy.uint64))
        self._want_rows(own, f"{name} is not in the allocation table")
        return Extents(offsets=taken["ptr"].astype(numpy.int64), sizes=taken["size"].astype(numpy.int64))

    def _table(self, dtype: numpy.dtype, *, count: int, offset: int, what: str) -> Shaped[numpy.ndarray, " N"]:
        size = count * dtype.itemsize
        self._want(offset + size <= self.num_bytes, f"its {what} needs {size} bytes from byte {offset} on, the file has {self.num_bytes}")
        content = os.pread(self.descriptor, size, offset)
        self._want(len(content) == size, f"its {what} ends early")
        return numpy.frombuffer(content, dtype=dtype)

    def _want_rows(self, good: Bool[numpy.ndarray, " N"], reason: str) -> None:
        if not good.all():
            raise ShardError(f"{self.where}, sample {_first(~good)}: {reason}; copy the file again or build it anew")

    def _want(self, good: bool, reason: str) -> None:
        if not good:
            raise ShardError(f"{self.where}: {reason}; copy the file again or build it anew")


def _first(found: Bool[numpy.ndarray, " N"]) -> int:
    return int(numpy.flatnonzero(found)[0]) if found.any() else 0
