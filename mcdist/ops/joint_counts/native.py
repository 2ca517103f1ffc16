"""Pixels by pair of numbers on a CPU, in one pass over both maps as they are. The operands are checked already; native.cpp does the work."""

import numpy
from jaxtyping import Int, Integer

from mcdist.ops import native

_ROWS = ("uint8", "int16", "uint16")
"""Types of rows that are read as they are, beside int64; columns of uint8 are, too."""


def count_native(
    rows: Integer[numpy.ndarray, " N"], columns: Integer[numpy.ndarray, " N"], *, shape: tuple[int, int], skipped: int
) -> tuple[Int[numpy.ndarray, "R C"], tuple[int, int]]:
    """(counts, places of the first pixel whose row, and whose column, is beyond the table, or -1)."""
    columns = numpy.ascontiguousarray(columns if columns.dtype == numpy.uint8 else columns.astype(numpy.int64))
    as_is = columns.dtype == numpy.uint8 and rows.dtype.name in _ROWS
    rows = numpy.ascontiguousarray(rows if as_is else rows.astype(numpy.int64))
    counts, strays = numpy.zeros(shape, dtype=numpy.int64), numpy.zeros(2, dtype=numpy.int64)
    native.call(
        f"joint_counts_{rows.dtype.name}_{columns.dtype.name}",
        *(native.pointer(array) for array in (rows, columns, counts, strays)),
        native.int64s(len(rows), *shape, skipped),
    )
    return counts, (int(strays[0]), int(strays[1]))
