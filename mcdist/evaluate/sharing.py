"""Sharing: several ranks judge one store together, each its own part of the photos, objects or seeds. What they add up are integers.

So the sums are those of one process, bit for bit. A part is never cut where it would be computed otherwise: photos that are read together stay together.
"""

from collections.abc import Callable, Sequence
from typing import TypeVar

import numpy
from jaxtyping import Int

from mcdist.distributed import World
from mcdist.ranks.agree import all_together

Item = TypeVar("Item")


def own_part(items: Sequence[Item], *, world: World) -> Sequence[Item]:
    """This rank's items: a stretch of them, as long as that of any other rank, or one longer."""
    first, end = (len(items) * rank // world.num_ranks for rank in (world.rank, world.rank + 1))
    return items[first:end]


def summed(count: Callable[[], Sequence[Int[numpy.ndarray, "..."]]], *, world: World) -> list[Int[numpy.ndarray, "..."]]:
    """The sum over ranks of each array that `count` gives, on every rank. All ranks call this; an error of one ends all of them."""
    return [world.sum_counts(numpy.ascontiguousarray(counts)) for counts in all_together(count, world=world)]


def rows_of_all(make: Callable[[int], Int[numpy.ndarray, " N"]], *, num_rows: int, length: int, world: World) -> Int[numpy.ndarray, "R N"]:
    """Row r is make(r), integers of one length; each rank makes some of the rows, and all ranks have all of them."""

    def own() -> list[Int[numpy.ndarray, "R N"]]:
        rows = numpy.zeros((num_rows, length), dtype=numpy.int64)
        for row in own_part(range(num_rows), world=world):
            rows[row] = make(row)
        return [rows]

    return summed(own, world=world)[0]
