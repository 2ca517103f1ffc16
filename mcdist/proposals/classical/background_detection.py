"""background_detection: Zhu, Liang, Wei, Sun, "Saliency Optimization from Robust Background Detection", CVPR 2014.

A region belongs to the background where much of it, for its size, is on the border (boundary connectivity). Contrast against probable background
is probable foreground; a least-squares problem over superpixels makes the two one smooth map.
"""

import numpy
from jaxtyping import Float32

from mcdist.proposals.classical.saliency import SaliencyMethod, View, scaled
from mcdist.proposals.classical.superpixels import Superpixels, distances

NAME, VERSION = "background_detection", "1"

SAME_REGION_COLOUR = 10.0
"""Geodesic distance in Lab at which two superpixels count as half of one region (the paper's sigma_clr)."""
NEARBY = 0.4
"""Spatial sigma of the contrast (the paper's sigma_spa), in 0..1."""
BACKGROUND_WEIGHT = 5.0
SMOOTH_FLOOR = 0.1
"""The paper's mu: neighbours are tied a little, whatever their colours."""


def boundary_connectivity(superpixels: Superpixels) -> Float32[numpy.ndarray, " S"]:
    """Length on the border over the square root of the area, of the region each superpixel belongs to softly."""
    same = numpy.exp(-(superpixels.geodesics**2) / (2 * SAME_REGION_COLOUR**2))
    return (same @ superpixels.on_border.astype(numpy.float32)) / numpy.sqrt(same.sum(axis=1))


def background_probability(superpixels: Superpixels) -> Float32[numpy.ndarray, " S"]:
    """0..1."""
    return 1 - numpy.exp(-(boundary_connectivity(superpixels) ** 2) / 2)


def weighted_contrast(superpixels: Superpixels, *, background: Float32[numpy.ndarray, " S"]) -> Float32[numpy.ndarray, " S"]:
    """Difference in colour to probable background nearby, 0..1."""
    near = numpy.exp(-(distances(superpixels.centres) ** 2) / (2 * NEARBY**2))
    return scaled((superpixels.colour_distances * near) @ background)


def optimise(
    superpixels: Superpixels, *, foreground: Float32[numpy.ndarray, " S"], background: Float32[numpy.ndarray, " S"], weight: float = BACKGROUND_WEIGHT
) -> Float32[numpy.ndarray, " S"]:
    """The s in 0..1 with least sum of weight * background s^2 + foreground (s - 1)^2 + w_ij (s_i - s_j)^2."""
    ties = smoothness(superpixels)
    system = numpy.diag(ties.sum(axis=1) + weight * background + foreground) - ties
    return numpy.linalg.solve(system.astype(numpy.float64), foreground.astype(numpy.float64)).astype(numpy.float32)


def smoothness(superpixels: Superpixels) -> Float32[numpy.ndarray, "S S"]:
    """w_ij of superpixels within two steps: near 1 where their colours agree. The scale is the photo's own usual step between neighbours."""
    colour = superpixels.colour_distances
    usual = float(numpy.where(superpixels.touching, colour, numpy.inf).min(axis=1, initial=1e6).mean())
    sigma = min(max(2.0 * usual, 3.0), 20.0)
    return numpy.where(superpixels.near, numpy.exp(-(colour**2) / (2 * sigma**2)) + SMOOTH_FLOOR, 0).astype(numpy.float32)


def saliency_of(superpixels: Superpixels) -> Float32[numpy.ndarray, " S"]:
    """0..1 a superpixel."""
    background = background_probability(superpixels)
    return optimise(superpixels, foreground=weighted_contrast(superpixels, background=background), background=background)


class BackgroundDetection(SaliencyMethod):
    """See the module."""

    def saliency(self, view: View) -> Float32[numpy.ndarray, "h w"]:
        """0..1 at working size."""
        superpixels = view.superpixels(self.parameters["superpixels"])
        return superpixels.paint(saliency_of(superpixels))


def make(*, device: str = "cpu", side_px: int = 256, superpixels: int = 200, threshold: str = "otsu", split: bool = False) -> BackgroundDetection:
    """`side_px`: long side of the working copy; `superpixels`: how many."""
    return BackgroundDetection(NAME, VERSION, {"side_px": side_px, "superpixels": superpixels, "threshold": threshold, "split": split})
