"""Regions: from a partition of the photo to objects. Regions know no background, so the border decides."""

from typing import Any

import numpy
from jaxtyping import Float64, Int, Int16

from mcdist.data.pictures.resize import resize_nearest
from mcdist.errors import ConfigError
from mcdist.proposals.proposal import Pixels, Proposal, check_least


def border_share(regions: Int[numpy.ndarray, "h w"]) -> Float64[numpy.ndarray, " R"]:
    """The share of each region's outline that is on the photo's border, 0..1."""
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


def region_proposal(regions: Int[numpy.ndarray, "h w"], *, photo: Pixels, parameters: dict[str, Any]) -> Proposal:
    """The regions that are no background, at the photo's size."""
    objects = objects_of_regions(
        regions, area_min_share=parameters["area_min_share"], border_max_share=parameters["border_max_share"], max_objects=parameters["max_objects"]
    )
    return Proposal(resize_nearest(objects, height=photo.shape[0], width=photo.shape[1]))


def check_regions(parameters: dict[str, Any], *, method: str) -> None:
    """Raises ConfigError for a parameter of regions out of range."""
    check_least(parameters, method=method)
    for key in ("area_min_share", "border_max_share"):
        if not 0 <= parameters[key] <= 1:
            raise ConfigError(f"{method}: {key} must be a share in 0..1, got {parameters[key]:g}")
