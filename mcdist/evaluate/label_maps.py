"""LabelMaps: the ground truth of a feature store's photos, pixel by pixel. Read photo by photo, so that memory does not grow with their number."""

from collections.abc import Iterable

import numpy
from jaxtyping import Shaped, UInt8

from mcdist.data.pictures.resize import resize_nearest
from mcdist.evaluate.metrics.labels import LabelMap
from mcdist.evaluate.table_names import HEIGHT, ID, LABELS, WIDTH
from mcdist.store.names import PHOTOS
from mcdist.store.store import FeatureStore


class LabelMaps:
    """By photo index, the class of every pixel: an index into `labels.names`, VOID_CLASS where no class names the pixel's id."""

    def __init__(self, store: FeatureStore, *, labels: LabelMap) -> None:
        """Reads the photos' sizes only.

        Raises:
            DataError: the store holds no label maps.
        """
        self.labels = labels
        self._ids = store.column(LABELS, ID)
        self._heights, self._widths = (store.column(PHOTOS, name).read().astype(numpy.int64) for name in (HEIGHT, WIDTH))
        areas_px = self._heights * self._widths
        self._chunk = store.manifest.plan.chunk
        self._begins = numpy.concatenate([numpy.cumsum(areas_px[first : first + self._chunk]) for first in range(0, len(areas_px), self._chunk)]) - areas_px

    def __len__(self) -> int:
        return len(self._heights)

    def own_size(self, photo: int) -> UInt8[numpy.ndarray, "H W"]:
        """The map of one photo, as large as the photo itself."""
        height, width, begin = int(self._heights[photo]), int(self._widths[photo]), int(self._begins[photo])
        ids = self._ids.chunk(photo // self._chunk)[begin : begin + height * width]
        return self.labels.apply(numpy.asarray(ids).reshape(height, width))

    def at_own_size(self, photo: int, *, square: Shaped[numpy.ndarray, "S S"]) -> Shaped[numpy.ndarray, "H W"]:
        """What was predicted for a photo as a square, as large as the photo itself: each pixel has the value under its centre."""
        return resize_nearest(square, height=int(self._heights[photo]), width=int(self._widths[photo]))

    def squares(self, photos: Iterable[int], *, size_px: int) -> UInt8[numpy.ndarray, "B S S"]:
        """The maps of some photos at `size_px` squared, straight from their own sizes: each pixel has the class under its centre."""
        return numpy.stack([resize_nearest(self.own_size(photo), height=size_px, width=size_px) for photo in photos])
