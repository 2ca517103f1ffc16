"""Instance maps: the two values that are no object, and the connected components of a foreground.

Builders, proposals and evaluation share this one rule of what a connected component is. No torch here: proposals' workers start without it.
"""

import numpy
from jaxtyping import Bool, Int32
from scipy import ndimage

BACKGROUND = 0
"""Instance map value of background."""

VOID = -1
"""Instance map value of pixels that are neither an object nor background."""

_WITH_CORNERS = numpy.ones((3, 3), dtype=int)


def connected_components(foreground: Bool[numpy.ndarray, "H W"]) -> tuple[Int32[numpy.ndarray, "H W"], int]:
    """(labels, number of components): the components are 1, 2, ... in reading order, background is 0. Pixels that touch at a corner are connected."""
    labels, num_found = ndimage.label(foreground, structure=_WITH_CORNERS)
    return labels.astype(numpy.int32, copy=False), int(num_found)
