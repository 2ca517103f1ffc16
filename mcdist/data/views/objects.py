"""Objects: which of a map's objects take part, and their numbers 1..n."""

from dataclasses import dataclass

import numpy
from jaxtyping import Int16, UInt8

from mcdist.data.pictures.png import STORED_VOID
from mcdist.types import VOID

_LARGEST_INT8 = 127


@dataclass(frozen=True, slots=True)
class Numbering:
    """The number of each stored value: 0 background, 1..n the objects that stay, -1 void; None where all keep theirs. `num_dropped` became void."""

    table: Int16[numpy.ndarray, " 256"] | None
    num_dropped: int

    def apply(self, stored: UInt8[numpy.ndarray, "H W"]) -> Int16[numpy.ndarray, "H W"]:
        """The instance map of stored values."""
        if self.table is None:
            return stored.view(numpy.int8).astype(numpy.int16)  # 255 and -1 are the same byte
        return self.table.take(stored)


def keep_largest(stored: UInt8[numpy.ndarray, "H W"], *, max_objects: int) -> Numbering:
    """Number the objects 1..n without gaps, in the order of their ids; of more than `max_objects` the largest stay, the others become void.

    Of two equally large ones the lower id stays.
    """
    highest = int((stored + numpy.uint8(1)).max(initial=0)) - 1  # void wraps to 0
    if highest <= 1:
        return Numbering(None, 0)
    content = stored.tobytes()
    ids = [value for value in range(1, highest + 1) if value in content]
    if len(ids) == highest <= min(max_objects, _LARGEST_INT8):
        return Numbering(None, 0)
    kept = _largest(stored, ids=ids, count=max_objects) if len(ids) > max_objects else ids
    table = numpy.full(STORED_VOID + 1, VOID, dtype=numpy.int16)
    table[0] = 0
    table[kept] = numpy.arange(1, len(kept) + 1)
    return Numbering(table, len(ids) - len(kept))


def _largest(stored: UInt8[numpy.ndarray, "H W"], *, ids: list[int], count: int) -> list[int]:
    areas = numpy.bincount(stored.ravel(), minlength=STORED_VOID + 1)[ids]
    return sorted(ids[place] for place in numpy.argsort(-areas, kind="stable")[:count].tolist())
