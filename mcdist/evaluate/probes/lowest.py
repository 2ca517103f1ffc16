"""Lowest: a sample of bounded size from rows that come in pieces, each set of that size equally likely, whatever the pieces.

Every row draws a number in 0..1 and the rows with the lowest numbers stay. The numbers come from the seed and the photo, so the sample of a data set does
not depend on how it is cut into pieces or shared among processes, and two samples merge into that of both.
"""

import numpy
from jaxtyping import Float, Shaped


class Lowest:
    """At most `size` rows, in the order of their numbers. Memory: twice `size` rows."""

    def __init__(self, size: int, *, seed: int) -> None:
        """Empty."""
        self.size, self.seed = size, seed
        self.numbers: Float[numpy.ndarray, " R"] = numpy.zeros(0)
        self.rows: Shaped[numpy.ndarray, R * row] | None = None
        self.num_seen = 0

    def add_photo(self, rows: Shaped[numpy.ndarray, "P *row"], *, photo: int) -> None:
        """Offer the rows of one photo, by its index in the data set."""
        self.num_seen += len(rows)
        drawn = numpy.random.default_rng([self.seed, photo]).random(len(rows))
        if len(self.numbers) == self.size and self.size:
            lower = drawn < self.numbers[-1]
            drawn, rows = drawn[lower], rows[lower]
        if not len(rows) and self.rows is not None:
            return
        numbers = numpy.concatenate([self.numbers, drawn])
        kept = numpy.argsort(numbers, kind="stable")[: self.size]
        joined = rows if self.rows is None else numpy.concatenate([self.rows, rows])
        self.numbers, self.rows = numbers[kept], joined[kept]
