"""guided: He, Sun, Tang, "Guided Image Filtering", PAMI 2013, of each object's mask with the photo as guide.

Inside every window the mask becomes a linear function of the photo's colour, so that its edge moves to the photo's edge. O(H W), whatever the radius.
"""

import numpy
from jaxtyping import Float32
from scipy import ndimage

from mcdist.proposals.proposal import Pixels, Proposal
from mcdist.proposals.refinement.layers import layers_of, objects_from_layers

RADIUS_SHARE = 0.02
"""Window radius as a share of the photo's longer side."""
EVENNESS = 1e-3
"""The paper's epsilon, of colours in 0..1: texture below this variance is not followed."""


def guided_filter(
    photo: Float32[numpy.ndarray, "H W 3"], *, layers: Float32[numpy.ndarray, "L H W"], radius: int, evenness: float
) -> Float32[numpy.ndarray, "L H W"]:
    """Each layer filtered with the colours of `photo` (0..1) as guide."""
    size = 2 * radius + 1

    def mean(values: numpy.ndarray) -> numpy.ndarray:
        return ndimage.uniform_filter(values, size=(size, size), axes=(-2, -1), mode="nearest")

    guide = numpy.moveaxis(photo, -1, 0)
    guide_mean = mean(guide)
    pairs = [(0, 0), (0, 1), (0, 2), (1, 1), (1, 2), (2, 2)]
    covariance = {pair: mean(guide[pair[0]] * guide[pair[1]]) - guide_mean[pair[0]] * guide_mean[pair[1]] for pair in pairs}
    inverse = _inverse_3x3(covariance, evenness=evenness)
    filtered = []
    for layer in layers:
        layer_mean = mean(layer)
        cross = mean(guide * layer) - guide_mean * layer_mean
        slope = numpy.einsum("ijhw,jhw->ihw", inverse, cross)
        offset = layer_mean - (slope * guide_mean).sum(axis=0)
        filtered.append((mean(slope) * guide).sum(axis=0) + mean(offset))
    return numpy.stack(filtered).astype(numpy.float32)


def _inverse_3x3(covariance: dict[tuple[int, int], numpy.ndarray], *, evenness: float) -> numpy.ndarray:
    """Inverse of the symmetric matrices covariance + evenness, `[3, 3, H, W]`, by their adjugates."""
    a, b, c = covariance[0, 0] + evenness, covariance[0, 1], covariance[0, 2]
    d, e, f = covariance[1, 1] + evenness, covariance[1, 2], covariance[2, 2] + evenness
    adjugate = numpy.array(
        [[d * f - e * e, c * e - b * f, b * e - c * d], [c * e - b * f, a * f - c * c, b * c - a * e], [b * e - c * d, b * c - a * e, a * d - b * b]]
    )
    determinant = a * adjugate[0, 0] + b * adjugate[0, 1] + c * adjugate[0, 2]
    return adjugate / numpy.maximum(determinant, 1e-12)


def refine(photo: Pixels, proposal: Proposal) -> Proposal:
    """Every object filtered, and each pixel given to the object, or to the background, with the greatest share."""
    radius = max(2, round(RADIUS_SHARE * max(photo.shape[:2])))
    layers = layers_of(proposal)
    if layers is None:
        return proposal
    return objects_from_layers(guided_filter(photo.astype(numpy.float32) / 255, layers=layers, radius=radius, evenness=EVENNESS), before=proposal)
