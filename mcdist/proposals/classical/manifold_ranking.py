"""manifold_ranking: Yang, Zhang, Lu, Ruan, Yang, "Saliency Detection via Graph-Based Manifold Ranking", CVPR 2013.

Superpixels are ranked by how easily they are reached from each border in turn; what no border reaches is probable foreground, whose own ranking is the map.
"""

import numpy
from jaxtyping import Float32, Float64

from mcdist.proposals.classical.saliency import SaliencyMethod, View, scaled
from mcdist.proposals.classical.superpixels import Superpixels

NAME, VERSION = "manifold_ranking", "1"

ALPHA = 0.99
EDGE_SHARPNESS = 10.0
"""The paper's 1 / sigma^2 = 10, of Lab distances scaled to 0..1."""


def ranking_matrix(superpixels: Superpixels) -> Float64[numpy.ndarray, "S S"]:
    """(D - alpha W)^-1 with an empty diagonal: column j ranks all superpixels as seen from j."""
    colour = superpixels.colour_distances
    longest = float(colour[superpixels.near].max(initial=1e-6))
    ties = numpy.where(superpixels.near, numpy.exp(-EDGE_SHARPNESS * colour / longest), 0).astype(numpy.float64)
    matrix = numpy.linalg.inv(numpy.diag(ties.sum(axis=1) + 1e-9) - ALPHA * ties)
    numpy.fill_diagonal(matrix, 0)
    return matrix


def saliency_of(superpixels: Superpixels) -> Float32[numpy.ndarray, " S"]:
    """0..1 a superpixel."""
    matrix = ranking_matrix(superpixels)
    foreground = numpy.ones(superpixels.num)
    for side in superpixels.sides:
        foreground *= 1 - scaled(matrix @ side)
    chosen = foreground > foreground.mean()
    return scaled(matrix @ chosen)


class ManifoldRanking(SaliencyMethod):
    """See the module."""

    def saliency(self, view: View) -> Float32[numpy.ndarray, "h w"]:
        """0..1 at working size."""
        superpixels = view.superpixels(self.parameters["superpixels"])
        return superpixels.paint(saliency_of(superpixels))


def make(*, device: str = "cpu", side_px: int = 256, superpixels: int = 200, threshold: str = "otsu", split: bool = False) -> ManifoldRanking:
    """`side_px`: long side of the working copy; `superpixels`: how many."""
    return ManifoldRanking(NAME, VERSION, {"side_px": side_px, "superpixels": superpixels, "threshold": threshold, "split": split})
