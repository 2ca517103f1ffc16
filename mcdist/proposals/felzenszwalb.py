"""felzenszwalb: Felzenszwalb, Huttenlocher, "Efficient Graph-Based Image Segmentation", IJCV 2004: the photo falls into regions, all of them proposals.

No region is called background but those along the border: what touches it for much of its outline is left out, the rest are objects.
"""

from typing import Any

import numpy
from jaxtyping import Int
from skimage.segmentation import felzenszwalb

from mcdist.errors import ConfigError
from mcdist.proposals.components import AREA_MIN_SHARE
from mcdist.proposals.proposal import Method, Pixels, Proposal
from mcdist.proposals.regions import objects_of_regions
from mcdist.proposals.saliency import shrunk

NAME, VERSION = "felzenszwalb", "1"


class Felzenszwalb(Method):
    """See the module."""

    def propose(self, photo: Pixels, *, name: str) -> Proposal:
        """Regions of the working copy as objects."""
        wanted = self.parameters
        small = shrunk(photo, side_px=wanted["side_px"])
        regions = felzenszwalb(
            small, scale=wanted["scale"], sigma=wanted["sigma"], min_size=max(1, round(wanted["area_min_share"] * small.shape[0] * small.shape[1]))
        )
        return region_proposal(regions, photo=photo, parameters=wanted)


def region_proposal(regions: Int[numpy.ndarray, "h w"], *, photo: Pixels, parameters: dict[str, Any]) -> Proposal:
    """The regions that are no background, at the photo's size."""
    objects = objects_of_regions(
        regions, area_min_share=parameters["area_min_share"], border_max_share=parameters["border_max_share"], max_objects=parameters["max_objects"]
    )
    return Proposal(nearest(objects, height=photo.shape[0], width=photo.shape[1]))


def nearest(values: Int[numpy.ndarray, "h w"], *, height: int, width: int) -> Int[numpy.ndarray, "H W"]:
    """A map at another size: the value under each pixel's centre."""
    rows = (2 * numpy.arange(height) + 1) * values.shape[0] // (2 * height)
    columns = (2 * numpy.arange(width) + 1) * values.shape[1] // (2 * width)
    return values[rows[:, None], columns]


def make(
    *,
    device: str = "cpu",
    side_px: int = 256,
    scale: float = 300.0,
    sigma: float = 0.8,
    area_min_share: float = AREA_MIN_SHARE,
    border_max_share: float = 0.25,
    max_objects: int = 8,
) -> Felzenszwalb:
    """`scale`: larger gives larger regions. `border_max_share`: of a region's outline on the border, above it is background. The `max_objects` largest stay."""
    parameters = {
        "side_px": side_px,
        "scale": scale,
        "sigma": sigma,
        "area_min_share": area_min_share,
        "border_max_share": border_max_share,
        "max_objects": max_objects,
    }
    check_regions(parameters, method=NAME)
    return Felzenszwalb(NAME, VERSION, parameters)


def check_regions(parameters: dict[str, Any], *, method: str) -> None:
    """Raises ConfigError for a parameter of regions out of range."""
    if parameters["side_px"] < 32 or parameters["max_objects"] < 1:
        raise ConfigError(f"{method}: side_px wants at least 32 and max_objects 1, got {parameters['side_px']} and {parameters['max_objects']}")
    for key in ("area_min_share", "border_max_share"):
        if not 0 <= parameters[key] <= 1:
            raise ConfigError(f"{method}: {key} wants a share in 0..1, got {parameters[key]:g}")
