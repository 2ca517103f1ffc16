"""Regions: from a partition of the photo to objects. Regions know no background, so the border decides."""

import numpy
from jaxtyping import Float64, Int, Int16


def border_share(regions: Int[numpy.ndarray, "h w"]) -> Float64[numpy.ndarray, " R"]:
    """How much of each region's outline lies on the photo's border, 0..1."""
    num = int(regions.max()) + 1
    border = numpy.zeros(num)
    for line in (regions[0], regions[-1], regions[:, 0], regions[:, -1]):
        border += numpy.bincount(line, minlength=num)
    inner = numpy.zeros(num)
    for one, other in ((regions[:, :-1], regions[:, 1:]), (regions[:-1], regions[1:])):
        cut = one != other
        inner += numpy.bincount(one[cut], minlength=num) + numpy.bincount(other[cut], minlength=num)
    return border / numpy.maximum(border + inner, 1)


def objects_of_regions(regions: Int[numpy.ndarray, "h w"], *, area_min_share: float, border_max_share: float, max_objects: int) -> Int16[numpy.ndarray, "h w"]:
    """Regions of at least that area and at most that share of border, numbered from the largest down; of more than `max_objects` the largest."""
    areas = numpy.bincount(regions.ravel())
    fits = (areas >= area_min_share * regions.size) & (border_share(regions) <= border_max_share)
    chosen = numpy.flatnonzero(fits)
    chosen = chosen[numpy.argsort(-areas[chosen], kind="stable")][:max_objects]
    number = numpy.zeros(len(areas), dtype=numpy.int16)
    number[chosen] = numpy.arange(1, len(chosen) + 1)
    return number[regions]
