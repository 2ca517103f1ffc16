"""Layout: what a cache of views keeps of each photo, and how many bytes that is.

A cache is a feature store whose table `photos` has a row for each photo of the shards. Features are kept with their channels last, so that what is
read has the layout that the encoder's weights have.
"""

import math
from dataclasses import dataclass

import numpy

from mcdist.choices import CacheDtype

FEATURES, INSTANCES, COUNTS = "features", "instances", "counts"
"""Columns. `features` [pairs, V, h, w, C]: query and key view of each pair, or the query alone; `instances` [pairs, V, S, S], int8; `counts` [pairs, 4], of
COUNTED."""
COLUMNS = [FEATURES, INSTANCES, COUNTS]
COUNTED = ("num_redrawn", "num_emptied", "num_dropped_objects", "num_bad")
"""As a Batch of this pair alone has them."""
BAD = COUNTED.index("num_bad")
BATCH_VIEWS = 16
"""Views that go through the backbone together, always as many: a convolution's last bits may depend on how many images it is given, not on which."""
CHUNK_BYTES = 64 * 2**20
"""About what a chunk holds: it is made in memory."""

DTYPES: dict[CacheDtype, type[numpy.floating]] = {"fp16": numpy.float16, "fp32": numpy.float32}


@dataclass(frozen=True, slots=True, kw_only=True)
class ViewLayout:
    """`num_pairs` pairs of views of each photo: maps of `size_px` squared, features of `channels` on a grid of `grid` squared, in `dtype`.

    `num_views`: 2, or 1 where no term of the loss looks at the key view: of each pair the query alone is then kept.
    """

    num_pairs: int
    num_views: int
    channels: int
    grid: int
    size_px: int
    dtype: CacheDtype

    @property
    def photo_bytes(self) -> int:
        """Bytes of one photo's row."""
        features = self.grid**2 * self.channels * DTYPES[self.dtype]().itemsize
        return self.num_pairs * (self.num_views * (features + self.size_px**2) + 2 * len(COUNTED))

    @property
    def batch_pairs(self) -> int:
        """Pairs whose views go through the backbone together."""
        return BATCH_VIEWS // self.num_views

    @property
    def chunk(self) -> int:
        """Photos in a chunk: about CHUNK_BYTES, and whole batches."""
        least = self.batch_pairs // math.gcd(self.batch_pairs, self.num_pairs)
        return max(1, CHUNK_BYTES // (least * self.photo_bytes)) * least

    def empty(self, num_photos: int) -> dict[str, numpy.ndarray]:
        """The columns of so many photos, to be filled; row p * num_pairs + k is pair k of photo p."""
        rows = num_photos * self.num_pairs
        return {
            FEATURES: numpy.empty((rows, self.num_views, self.grid, self.grid, self.channels), dtype=DTYPES[self.dtype]),
            INSTANCES: numpy.empty((rows, self.num_views, self.size_px, self.size_px), dtype=numpy.int8),
            COUNTS: numpy.empty((rows, len(COUNTED)), dtype=numpy.int16),
        }
