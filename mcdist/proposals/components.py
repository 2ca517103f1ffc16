"""Components: from foreground to objects, with the paper's cleaning: connected parts below 1 % of the area go, what is left is numbered."""

import numpy
from jaxtyping import Bool, Int16
from scipy import ndimage

AREA_MIN_SHARE = 0.01
"""Of the photo: smaller components are dropped, and a photo with less foreground than that has none (MaskContrast, appendix: saliency post-processing)."""

EIGHT_NEIGHBOURS = numpy.ones((3, 3), dtype=int)


def objects_of(foreground: Bool[numpy.ndarray, "H W"], *, split: bool, area_min_share: float = AREA_MIN_SHARE) -> Int16[numpy.ndarray, "H W"]:
    """An instance map: every 8-connected part of at least `area_min_share` of the area, as objects of their own with `split`, else together as object 1.

    Numbers go from the largest down. Nothing where less than that share is left.
    """
    labels, num_found = ndimage.label(foreground, structure=EIGHT_NEIGHBOURS)
    areas = numpy.bincount(labels.ravel(), minlength=num_found + 1)
    areas[0] = 0
    large = numpy.flatnonzero(areas >= max(1, area_min_share * foreground.size))
    number = numpy.zeros(num_found + 1, dtype=numpy.int16)
    number[large[numpy.argsort(-areas[large], kind="stable")]] = numpy.arange(1, len(large) + 1) if split else 1
    return number[labels]


def without_holes(foreground: Bool[numpy.ndarray, "H W"], *, share: float) -> Bool[numpy.ndarray, "H W"]:
    """Holes smaller than `share` of the area are filled."""
    labels, num_found = ndimage.label(~foreground)
    areas = numpy.bincount(labels.ravel(), minlength=num_found + 1)
    small = areas < share * foreground.size
    small[0] = False
    border = numpy.unique(numpy.concatenate([labels[0], labels[-1], labels[:, 0], labels[:, -1]]))
    small[border] = False
    return foreground | small[labels]
