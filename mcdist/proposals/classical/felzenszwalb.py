"""felzenszwalb: Felzenszwalb, Huttenlocher, "Efficient Graph-Based Image Segmentation", IJCV 2004: the photo falls into regions, all of them proposals.

No region is called background but those along the border: what touches it for much of its outline is left out, the rest are objects.
"""

from skimage.segmentation import felzenszwalb

from mcdist.proposals.classical.regions import check_regions, region_proposal
from mcdist.proposals.classical.saliency import shrunk
from mcdist.proposals.components import AREA_MIN_SHARE
from mcdist.proposals.proposal import Method, Pixels, Proposal

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
    """`scale`: more makes larger regions. `border_max_share`: of a region's outline on the border, above it is background. The `max_objects` largest stay."""
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
