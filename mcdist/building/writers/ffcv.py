"""One FFCV file: the same photos give the same bytes, whoever writes it and whenever.

FFCV's own writer hands photos to worker processes, waits for ever for one that raised, and orders pages by who came first. Its file is a header, three
tables and the data, so one process writes it here, front to back.
"""

import os
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

import numpy
from jaxtyping import Shaped

from mcdist.building.writers.pack import Packed
from mcdist.building.writers.webdataset import sha256_of
from mcdist.data.shards.beton import ALLOCATION, BYTES, FIELD, HEADER, INT, JSON, MIN_PAGE_BYTES, PHOTO, VERSION, row_type
from mcdist.data.shards.beton_fields import ABSENT, JSON_FIELDS, LABEL_MEMBER, PHOTO_FIELD, TERMINATOR
from mcdist.data.shards.manifest import ShardEntry
from mcdist.errors import DataError

MAX_PAGE_BYTES = 2**31


@dataclass(slots=True)
class _Spool:
    """Samples as they came, one after another in a file without a name: the tables in front of the data need to know them all first."""

    file: BinaryIO
    samples: list[Packed] = field(default_factory=list)
    sizes: list[dict[str, int]] = field(default_factory=list)

    def add(self, sample: Packed) -> None:
        """Keep the bytes in the file, the rest in memory."""
        for content in sample.fields.values():
            self.file.write(content)
        self.sizes.append({name: len(content) for name, content in sample.fields.items()})
        labels = {LABEL_MEMBER: sample.fields[LABEL_MEMBER]} if LABEL_MEMBER in sample.fields else {}
        self.samples.append(Packed(sample.key, sample.mode, sample.width, sample.height, labels))


def write_beton(path: Path, *, samples: Iterable[Packed]) -> ShardEntry | None:
    """Write `samples` as an FFCV file beside `path`, flush it to disk, rename it; None (and no file) where there are no samples.

    Errors leave nothing behind: OSError of the disk, DataError of a field larger than a page can be, and whatever drawing the next sample raises.
    """
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with tempfile.TemporaryFile(dir=path.parent) as file:
            spool = _Spool(file)
            for sample in samples:
                spool.add(sample)
            if not spool.samples:
                return None
            file.seek(0)
            with beside.open("wb") as out:
                _write(out, spool=spool)
                out.flush()
                os.fsync(out.fileno())
        entry = ShardEntry(name=path.name, num_samples=len(spool.samples), num_bytes=beside.stat().st_size, sha256=sha256_of(beside))
        beside.replace(path)
    finally:
        beside.unlink(missing_ok=True)
    return entry


def _write(out: BinaryIO, *, spool: _Spool) -> None:
    """Header, fields, rows, data, allocations. Gaps before a page's start are zeros."""
    types = _field_types(spool)
    row = row_type(list(types.values()))
    data_at = HEADER.itemsize + len(types) * FIELD.itemsize + len(spool.samples) * row.itemsize
    stored = [name for name, type_id in types.items() if type_id != INT]
    sizes = numpy.array([[_stored_size(name, own.get(name, 0)) for name in stored] for own in spool.sizes], dtype=numpy.int64)
    page_bytes = _page_bytes(int(sizes.max()))
    offsets, end = _lay_out(sizes, data_at=data_at, page_bytes=page_bytes)
    header = numpy.array([(VERSION, len(types), page_bytes, len(spool.samples), end)], dtype=HEADER)
    fields = numpy.array([(type_id, name.encode(), b"") for name, type_id in types.items()], dtype=FIELD)
    out.write(header.tobytes() + fields.tobytes() + _rows(spool, types=types, row=row, stored=stored, offsets=offsets, sizes=sizes).tobytes())
    for sample, own in enumerate(spool.sizes):
        contents = {name: spool.file.read(size) for name, size in own.items()}
        for column, name in enumerate(stored):
            out.write(bytes(int(offsets[sample, column]) - out.tell()))
            content = contents.get(name, b"")
            out.write(content + TERMINATOR if name in JSON_FIELDS else content or ABSENT)
    out.write(_allocations(offsets, sizes=sizes).tobytes())


def _field_types(spool: _Spool) -> dict[str, int]:
    """Fields in the file's order: the photo, then by name. A class label is an integer where an integer can represent every sample's."""
    names = sorted({name for own in spool.sizes for name in own} - {PHOTO_FIELD})
    labels = [sample.fields.get(LABEL_MEMBER, b"") for sample in spool.samples]
    return {PHOTO_FIELD: PHOTO} | {
        name: INT if name == LABEL_MEMBER and all(map(_is_integer, labels)) else JSON if name in JSON_FIELDS else BYTES for name in names
    }


def _is_integer(label: bytes) -> bool:
    return len(label) < 19 and label.removeprefix(b"-").isdigit() and str(int(label)).encode() == label


def _stored_size(name: str, size: int) -> int:
    """Never 0: FFCV finds a field's size by where it starts, so no two may start at one byte."""
    return size + len(TERMINATOR) if name in JSON_FIELDS else max(size, len(ABSENT))


def _page_bytes(largest: int) -> int:
    """A power of two, four times as large as the largest field, so that the gaps before page starts stay below a quarter."""
    if largest > MAX_PAGE_BYTES:
        raise DataError(f"a field of {largest} bytes is more than a page of FFCV holds ({MAX_PAGE_BYTES}); make the photo smaller, or use --format webdataset")
    return min(MAX_PAGE_BYTES, max(MIN_PAGE_BYTES, 1 << (4 * largest - 1).bit_length()))


def _lay_out(sizes: Shaped[numpy.ndarray, "N F"], *, data_at: int, page_bytes: int) -> tuple[Shaped[numpy.ndarray, "N F"], int]:
    """Each field's offset in the file and the end of the data: one after another, none across a multiple of the page size."""
    offsets, cursor = [], data_at
    for size in sizes.ravel().tolist():
        if cursor // page_bytes != (cursor + size - 1) // page_bytes:
            cursor = -(-cursor // page_bytes) * page_bytes
        offsets.append(cursor)
        cursor += size
    return numpy.array(offsets, dtype=numpy.int64).reshape(sizes.shape), cursor


def _rows(
    spool: _Spool,
    *,
    types: dict[str, int],
    row: numpy.dtype,
    stored: list[str],
    offsets: Shaped[numpy.ndarray, "N F"],
    sizes: Shaped[numpy.ndarray, "N F"],
) -> Shaped[numpy.ndarray, " N"]:
    rows = numpy.zeros(len(spool.samples), dtype=row)
    for (name, type_id), column in zip(types.items(), row.names or (), strict=True):
        if type_id == INT:
            rows[column] = [int(sample.fields[name]) for sample in spool.samples]
            continue
        rows[column]["ptr"] = offsets[:, stored.index(name)]
        if type_id == PHOTO:
            for value in ("mode", "width", "height"):
                rows[column][value] = [getattr(sample, value) for sample in spool.samples]
        else:
            rows[column]["size"] = sizes[:, stored.index(name)]
    return rows


def _allocations(offsets: Shaped[numpy.ndarray, "N F"], *, sizes: Shaped[numpy.ndarray, "N F"]) -> Shaped[numpy.ndarray, " A"]:
    table = numpy.zeros(offsets.size, dtype=ALLOCATION)
    table["sample_id"] = numpy.repeat(numpy.arange(len(offsets)), offsets.shape[1])
    table["ptr"], table["size"] = offsets.ravel(), sizes.ravel()
    return table
