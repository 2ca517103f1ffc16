"""Rows: object vectors that are read a few at a time, from memory, from a memory-mapped array or from a feature store; and the same as unit vectors."""

from typing import Any, Protocol, runtime_checkable

import numpy
from jaxtyping import Float, Int

BLOCK_VALUES = 2**22
"""Values of a block of vectors in memory: 16 MiB in float32."""


@runtime_checkable
class Rows(Protocol):
    """A table of vectors. A column of a feature store is one."""

    def __len__(self) -> int: ...

    def take(self, rows: Int[numpy.ndarray, " R"]) -> numpy.ndarray:
        """Some rows, in the order asked for."""
        ...


class ArrayRows:
    """An array or a memory map `[N, D]` as rows."""

    def __init__(self, values: numpy.ndarray) -> None:
        """Nothing is copied."""
        self.values = values

    def __len__(self) -> int:
        return len(self.values)

    def take(self, rows: Int[numpy.ndarray, " R"]) -> numpy.ndarray:
        """A copy of some rows."""
        return numpy.asarray(self.values[rows])


class UnitRows:
    """The rows `kept` of each source as float32 unit vectors; all rows where `kept` is None.

    Of several sources the unit vectors are joined and divided by the square root of their number, so that the inner product of two rows is the
    mean of their cosines. Rows must be finite and not zero. With `means`, one a source, the mean is taken off each unit vector, and what is left is
    unit again; a row that is the mean itself stays zero.
    """

    def __init__(
        self, sources: tuple[Any, ...], *, kept: Int[numpy.ndarray, " M"] | None = None, means: tuple[Float[numpy.ndarray, " _"], ...] | None = None
    ) -> None:
        """Nothing is read but the length of a row."""
        self.sources, self.kept, self.means = sources, kept, means
        self.num_dims = sum(source.take(numpy.zeros(0, dtype=numpy.int64)).shape[1] for source in sources)

    def __len__(self) -> int:
        return len(self.sources[0]) if self.kept is None else len(self.kept)

    def take(self, rows: Int[numpy.ndarray, " R"]) -> Float[numpy.ndarray, "R D"]:
        """Some unit vectors, in the order asked for."""
        places = rows if self.kept is None else self.kept[rows]
        joined = [unit(source.take(places))[0] for source in self.sources]
        if self.means is not None:
            joined = [unit(vectors - mean)[0] for vectors, mean in zip(joined, self.means, strict=True)]
        return joined[0] if len(joined) == 1 else numpy.concatenate(joined, axis=1) / numpy.float32(len(joined) ** 0.5)

    def alone(self, view: int) -> "UnitRows":
        """The same rows of one source."""
        if len(self.sources) == 1:
            return self
        return UnitRows((self.sources[view],), kept=self.kept, means=None if self.means is None else self.means[view : view + 1])

    def subset(self, rows: Int[numpy.ndarray, " R"]) -> "UnitRows":
        """Some of the rows as rows of their own."""
        return UnitRows(self.sources, kept=rows if self.kept is None else self.kept[rows], means=self.means)

    def centred(self) -> "UnitRows":
        """The same rows with the mean of all unit vectors of each source taken off. One row alone, or none, stays as it is. Reads every row once."""
        if len(self) < 2:
            return self
        views = [UnitRows((source,), kept=self.kept) for source in self.sources]
        sums = [sum(view.take(rows).sum(axis=0, dtype=numpy.float64) for rows in view.blocks()) for view in views]
        return UnitRows(self.sources, kept=self.kept, means=tuple((total / len(self)).astype(numpy.float32) for total in sums))

    def blocks(self, rows: Int[numpy.ndarray, " R"] | None = None) -> list[Int[numpy.ndarray, " B"]]:
        """`rows`, or all, in consecutive pieces of which each one's vectors fit into a block."""
        chosen = numpy.arange(len(self)) if rows is None else rows
        return split(chosen, num_dims=self.num_dims)


def split(rows: Int[numpy.ndarray, " R"], *, num_dims: int) -> list[Int[numpy.ndarray, " B"]]:
    """Consecutive pieces of `rows`, of at most BLOCK_VALUES values each."""
    size = max(1, BLOCK_VALUES // max(1, num_dims))
    return [rows[start : start + size] for start in range(0, len(rows), size)]


def unit(values: numpy.ndarray) -> tuple[Float[numpy.ndarray, "R D"], Float[numpy.ndarray, " R"]]:
    """(rows divided by their lengths, lengths). A zero row stays zero. Lengths are taken in float64 of the row over its largest value: nothing overflows."""
    vectors = numpy.asarray(values, dtype=numpy.float32)
    largest = numpy.abs(vectors).max(axis=1, initial=0)
    scaled = vectors / numpy.where(largest > 0, largest, 1)[:, None]
    lengths = numpy.sqrt(numpy.einsum("rd,rd->r", scaled, scaled, dtype=numpy.float64))
    return (scaled / numpy.where(lengths > 0, lengths, 1)[:, None]).astype(numpy.float32), lengths * largest
