"""Extents: where the objects of a map are and how large, all objects at once from sums along rows and columns."""

from dataclasses import dataclass

import numpy
from jaxtyping import Float64, Int16, Int64

CORE_SHARE = 0.01
"""Of an object's pixels: so many may be outside its core on each side. A few stray pixels of a rough mask do not widen the cut."""


@dataclass(frozen=True, slots=True)
class Extents:
    """Of the O objects of a map that have a pixel, in the order of their numbers.

    `box`: top, left, bottom, right as shares of the map. `core`: the same in pixels, between the 1st and the 99th percentile of the object's rows and
    columns; never empty.
    """

    number: Int64[numpy.ndarray, " O"]
    area_px: Int64[numpy.ndarray, " O"]
    box: Float64[numpy.ndarray, "O 4"]
    core: Int64[numpy.ndarray, "O 4"]


def extents_of(objects: Int16[numpy.ndarray, "H W"]) -> Extents:
    """The extents of the objects 1.. in a map; 0 and -1 are none. Time: O(H W), whatever the number of objects."""
    height, width = objects.shape
    inside = numpy.flatnonzero(objects > 0)
    numbers = objects.ravel()[inside].astype(numpy.int64)
    num = int(numbers.max(initial=0)) + 1
    rows, columns = (
        numpy.bincount(numbers * length + place, minlength=num * length).reshape(num, length)
        for place, length in ((inside // width, height), (inside % width, width))
    )
    area_px = rows.sum(axis=1)
    number = numpy.flatnonzero(area_px)
    (top, bottom), (left, right) = (_reach(counts[number], share=0.0) for counts in (rows, columns))
    box = numpy.stack([top / height, left / width, bottom / height, right / width], axis=1)
    (top, bottom), (left, right) = (_reach(counts[number], share=CORE_SHARE) for counts in (rows, columns))
    return Extents(number=number, area_px=area_px[number], box=box, core=numpy.stack([top, left, bottom, right], axis=1))


def _reach(counts: Int64[numpy.ndarray, "O n"], *, share: float) -> tuple[Int64[numpy.ndarray, " O"], Int64[numpy.ndarray, " O"]]:
    """(first place, place after the last) of the pixels, `share` of them left out at either end."""
    ends = counts.cumsum(axis=1)
    total = ends[:, -1:]
    first = (ends > share * total).argmax(axis=1)
    last = (ends >= (1 - share) * total).argmax(axis=1)
    return first, last + 1
