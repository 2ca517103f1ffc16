"""hierarchy: regions merged from the most alike up, after Arbelaez et al., PAMI 2011, the paper's alternative to saliency ("boundary").

Superpixels are merged two by two, each time the neighbours whose mean colours differ least, weighted by how large they are (Ward), so that the tree is
balanced. It is cut where `regions` are left; those that are no background are the objects.
"""

import heapq

import numpy
from jaxtyping import Int
from numpy import ndarray

from mcdist.proposals.classical.regions import check_regions, region_proposal
from mcdist.proposals.classical.saliency import View, shrunk
from mcdist.proposals.classical.superpixels import Superpixels
from mcdist.proposals.components import AREA_MIN_SHARE
from mcdist.proposals.proposal import Method, Pixels, Proposal

NAME, VERSION = "hierarchy", "1"


def merge(superpixels: Superpixels, *, num_regions: int) -> Int[ndarray, " S"]:
    """Region of each superpixel, 0..num_regions-1, after merging from the most alike pair up. O(E log E)."""
    colours = {index: superpixels.colours[index].astype(numpy.float64) for index in range(superpixels.num)}
    areas = {index: float(superpixels.areas[index]) for index in range(superpixels.num)}
    neighbours: dict[int, set[int]] = {index: set() for index in range(superpixels.num)}
    for one, other in superpixels.edges.tolist():
        neighbours[one].add(other)
        neighbours[other].add(one)
    queue = [(_cost(colours, areas, one, other), one, other) for one, other in superpixels.edges.tolist()]
    heapq.heapify(queue)
    parent: dict[int, int] = {}
    newest = superpixels.num
    while len(areas) > num_regions and queue:
        _, one, other = heapq.heappop(queue)
        if one not in areas or other not in areas:
            continue
        area = areas[one] + areas[other]
        colours[newest] = (colours[one] * areas[one] + colours[other] * areas[other]) / area
        parent[one] = parent[other] = newest
        touching = (neighbours.pop(one) | neighbours.pop(other)) - {one, other}
        del areas[one], areas[other]
        areas[newest], neighbours[newest] = area, touching
        for third in sorted(touching):
            neighbours[third] = (neighbours[third] - {one, other}) | {newest}
            heapq.heappush(queue, (_cost(colours, areas, third, newest), third, newest))
        newest += 1
    roots = [_root(parent, index) for index in range(superpixels.num)]
    return numpy.unique(roots, return_inverse=True)[1]


def _cost(colours: dict[int, ndarray], areas: dict[int, float], one: int, other: int) -> float:
    """How much the spread of colours grows by the merger (Ward 1963), with areas' power damped so that large flat regions may still join."""
    offset = colours[one] - colours[other]
    return float(offset @ offset) * (areas[one] * areas[other] / (areas[one] + areas[other])) ** 0.5


def _root(parent: dict[int, int], index: int) -> int:
    while index in parent:
        index = parent[index]
    return index


class Hierarchy(Method):
    """See the module."""

    def propose(self, photo: Pixels, *, name: str) -> Proposal:
        """Regions of the working copy as objects."""
        wanted = self.parameters
        superpixels = View(shrunk(photo, side_px=wanted["side_px"])).superpixels(wanted["superpixels"])
        regions = merge(superpixels, num_regions=wanted["regions"])[superpixels.labels]
        return region_proposal(regions, photo=photo, parameters=wanted)


def make(
    *,
    device: str = "cpu",
    side_px: int = 256,
    superpixels: int = 300,
    regions: int = 10,
    area_min_share: float = AREA_MIN_SHARE,
    border_max_share: float = 0.25,
    max_objects: int = 8,
) -> Hierarchy:
    """`superpixels`: leaves of the tree; `regions`: where it is cut; the others as for felzenszwalb."""
    parameters = {
        "side_px": side_px,
        "superpixels": superpixels,
        "regions": regions,
        "area_min_share": area_min_share,
        "border_max_share": border_max_share,
        "max_objects": max_objects,
    }
    check_regions(parameters, method=NAME)
    return Hierarchy(NAME, VERSION, parameters)
