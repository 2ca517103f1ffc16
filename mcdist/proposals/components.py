"""Components: from foreground to objects, with the paper's cleaning: connected components below 1 % of the area go, the others are numbered."""

import numpy
from jaxtyping import Bool, Int16
from scipy import ndimage

from mcdist.components import connected_components

AREA_MIN_SHARE = 0.01
"""Of the photo: smaller components are dropped, and a photo with less foreground than that has none (MaskContrast, appendix: saliency post-processing)."""


def objects_of(foreground: Bool[numpy.ndarray, "H W"], *, split: bool, area_min_share: float = AREA_MIN_SHARE) -> Int16[numpy.ndarray, "H W"]:
    """An instance map: every connected component of at least `area_min_share` of the area, each an object with `split`, else together object 1.

    Numbers go from the largest down. Nothing where less than that share is left.
    """
    labels, num_found = connected_components(foreground)
    areas = numpy.bincount(labels.ravel(), minlength=num_found + 1)
    areas[0] = 0
    large = numpy.flatnonzero(areas >= max(1, area_min_share * foreground.size))
    number = numpy.zeros(num_found + 1, dtype=numpy.int16)
    number[large[numpy.argsort(-areas[large], kind="stable")]] = numpy.arange(1, len(large) + 1) if split else 1
    return number[labels]


def without_holes(foreground: Bool[numpy.ndarray, "H W"], *, share: float) -> Bool[numpy.ndarray, "H W"]:
    """Fill holes smaller than `share` of the area. Holes do not connect at corners, since the foreground around them does."""
    labels, num_found = ndimage.label(~foreground)
    areas = numpy.bincount(labels.ravel(), minlength=num_found + 1)
    small = areas < share * foreground.size
    small[0] = False
    border = numpy.unique(numpy.concatenate([labels[0], labels[-1], labels[:, 0], labels[:, -1]]))
    small[border] = False
    return foreground | small[labels]
