"""The public joint counts: their meaning, and the choice of the implementation that computes them."""

from dataclasses import dataclass

import numpy
from jaxtyping import Int, Integer

from mcdist.ops.joint_counts.native import count_native
from mcdist.ops.joint_counts.reference import counted_pairs, table_of
from mcdist.ops.native import reason_missing


@dataclass(frozen=True, slots=True)
class JointCounts:
    """`counts [R, C]` int64. `stray_row`, `stray_column`: a number of a pixel that counts which is no row, or no column; None without one."""

    counts: Int[numpy.ndarray, "R C"]
    stray_row: int | None
    stray_column: int | None


def joint_counts(
    rows: Integer[numpy.ndarray, "*shape"], columns: Integer[numpy.ndarray, "*same"], *, num_rows: int, num_columns: int, skipped: int
) -> JointCounts:
    """How many places have each pair of numbers (rows[i], columns[i]), in 0..R - 1 and 0..C - 1; those whose column is `skipped` count nowhere.

    Exact: counts are integers, and both implementations give the same. Cost: one pass; extra memory: four tables, or a few int64 a place in numpy.
    """
    shape = (num_rows, num_columns)
    if not reason_missing():
        counts, (at_row, at_column) = count_native(rows.ravel(), columns.ravel(), shape=shape, skipped=skipped)
        stray_row, stray_column = (None if at < 0 else int(values.ravel()[at]) for at, values in ((at_row, rows), (at_column, columns)))
        return JointCounts(counts, stray_row, stray_column)
    row, column, num_pixels = counted_pairs(rows, columns, skipped=skipped)
    stray_row, stray_column = _stray(row, limit=num_rows), _stray(column, limit=num_columns)
    if stray_row is not None or stray_column is not None:
        return JointCounts(numpy.zeros(shape, dtype=numpy.int64), stray_row, stray_column)
    return JointCounts(table_of(row, column, num_pixels, shape=shape), None, None)


def _stray(values: Int[numpy.ndarray, " N"], *, limit: int) -> int | None:
    stray = values[(values < 0) | (values >= limit)]
    return int(stray[0]) if len(stray) else None
