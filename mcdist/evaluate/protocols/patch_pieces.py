"""PatchPieces: the feature maps of an encoder and their label maps, read a few photos at a time; every patch protocol goes through it."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy
from jaxtyping import Float32, Int

from mcdist.evaluate.label_maps import LabelMaps
from mcdist.evaluate.view import StoreView
from mcdist.records.names import ENCODERS
from mcdist.store.names import PHOTOS
from mcdist.evaluate.table_names import patches_of
from mcdist.store.store import Column

PIECE_VALUES = 2**22
"""Feature values in memory at a time: 16 MiB in float32, but at least one photo."""


@dataclass(frozen=True, slots=True)
class Piece:
    """Some photos: their numbers, and their features."""

    photos: Int[numpy.ndarray, " B"]
    features: Float32[numpy.ndarray, "B h w D"]

    @property
    def vectors(self) -> Float32[numpy.ndarray, "N D"]:
        """The patches of all photos, in order."""
        return self.features.reshape(-1, self.features.shape[-1])


@dataclass(frozen=True, slots=True)
class PatchPieces:
    """`photos`: those that are read, ascending. `maps` has the truth of every photo, at any size."""

    column: Column
    maps: LabelMaps
    photos: Int[numpy.ndarray, " P"]

    @property
    def grid(self) -> tuple[int, int]:
        """Patches of a photo: rows, columns."""
        height, width, _ = self.column.row_shape
        return height, width

    @property
    def num_dims(self) -> int:
        """Length of a patch's vector."""
        return self.column.row_shape[2]

    @property
    def num_patches(self) -> int:
        """Of all photos."""
        return len(self.photos) * self.grid[0] * self.grid[1]

    def pieces(self) -> Iterator[Piece]:
        """All photos in order, in pieces of at most PIECE_VALUES values."""
        height, width = self.grid
        size = max(1, PIECE_VALUES // (height * width * self.num_dims))
        for start in range(0, len(self.photos), size):
            yield self.take(self.photos[start : start + size])

    def take(self, photos: Int[numpy.ndarray, " B"]) -> Piece:
        """Some photos, in the order asked for."""
        return Piece(photos, self.column.take(photos).astype(numpy.float32))

    def only(self, photos: Int[numpy.ndarray, " P"]) -> "PatchPieces":
        """Of these photos alone."""
        return PatchPieces(self.column, self.maps, photos)


def patch_pieces(store: StoreView, *, encoder: str) -> PatchPieces:
    """All photos of a store."""
    return PatchPieces(store.patches(encoder), store.label_maps, numpy.arange(store.store.num_photos))


def judged_encoders(store: StoreView) -> dict[str, str]:
    """Each encoder whose feature maps the store holds -> the first encoder with the very same maps, which is judged once for both."""
    held = [encoder for encoder in ENCODERS if store.store.has(PHOTOS, patches_of(encoder))]
    first_of: dict[str, str] = {}
    return {encoder: first_of.setdefault(store.patches(encoder).file_name, encoder) for encoder in held}
