"""ClassMaps: the ground truth pixel by pixel in classes 0..C - 1, whether or not the data set has a background.

A label map without background counts its classes from 1: its class 0 is one that no pixel has, for objects that belong to no class. Every pixel is judged
here, so that class is taken out; else it would be one of the clusters' classes, and count as absent.
"""

from collections.abc import Iterable

import numpy
from jaxtyping import UInt8

from mcdist.evaluate.label_maps import LabelMaps
from mcdist.evaluate.metrics.labels import VOID_CLASS, LabelMap


def first_class(labels: LabelMap) -> int:
    """The place in `labels.names` of class 0."""
    return 0 if labels.has_background else 1


class ClassMaps:
    """By photo index, the class of every pixel: an index into `names`, VOID_CLASS where no class names the pixel's id."""

    def __init__(self, maps: LabelMaps) -> None:
        """Nothing is read."""
        self._maps, self._first = maps, first_class(maps.labels)
        self.names = maps.labels.names[self._first :]

    def __len__(self) -> int:
        return len(self._maps)

    def own_size(self, photo: int) -> UInt8[numpy.ndarray, "H W"]:
        """The map of one photo, as large as the photo itself."""
        return self._counted_from_0(self._maps.own_size(photo))

    def squares(self, photos: Iterable[int], *, size_px: int) -> UInt8[numpy.ndarray, "B S S"]:
        """The maps of some photos at `size_px` squared: each pixel has the class under its centre."""
        return self._counted_from_0(self._maps.squares(photos, size_px=size_px))

    def _counted_from_0(self, classes: numpy.ndarray) -> numpy.ndarray:
        return numpy.where(classes == VOID_CLASS, VOID_CLASS, classes - numpy.uint8(self._first)) if self._first else classes
