"""Pixels by pair of numbers in numpy: the definition, and what computes them where no compiler is. Memory: a few int64 a pixel."""

import numpy
from jaxtyping import Int, Integer

_RUNS_WORTH = 4
"""Pixels in a run of equal pairs, on average, from which on counting runs is faster than counting pixels."""

Runs = tuple[Int[numpy.ndarray, " runs"], Int[numpy.ndarray, " runs"], Int[numpy.ndarray, " runs"]]
"""(row, column, number of pixels) of each run of equal pairs."""


def counted_pairs(rows: Integer[numpy.ndarray, "*shape"], columns: Integer[numpy.ndarray, "*same"], *, skipped: int) -> Runs:
    """The runs whose column is not `skipped`."""
    found = _runs(rows.ravel(), columns.ravel())
    counted = found[1] != skipped
    return found[0][counted], found[1][counted], found[2][counted]


def table_of(rows: numpy.ndarray, columns: numpy.ndarray, num_pixels: numpy.ndarray, *, shape: tuple[int, int]) -> Int[numpy.ndarray, "R C"]:
    """Pixels of each pair. Float64 sums inside: exact for fewer than 2^53 pixels at once."""
    cells = numpy.bincount(rows * shape[1] + columns, weights=num_pixels, minlength=shape[0] * shape[1])
    return cells.astype(numpy.int64).reshape(shape)


def _runs(rows: Integer[numpy.ndarray, " N"], columns: Integer[numpy.ndarray, " N"]) -> Runs:
    """Maps are flat, so a photo has far fewer runs than pixels; where it has not, each pixel is a run."""
    if not len(rows):
        nothing = numpy.zeros(0, dtype=numpy.int64)
        return nothing, nothing, nothing
    changes = rows[1:] != rows[:-1]
    changes |= columns[1:] != columns[:-1]
    if numpy.count_nonzero(changes) * _RUNS_WORTH > len(rows):
        return rows.astype(numpy.int64), columns.astype(numpy.int64), numpy.ones(len(rows), dtype=numpy.int64)
    starts = numpy.concatenate([[0], numpy.flatnonzero(changes) + 1])
    return rows[starts].astype(numpy.int64), columns[starts].astype(numpy.int64), numpy.diff(starts, append=len(rows))
