"""PatchPieces: the feature maps of an encoder and their label maps, read a few photos at a time; every patch protocol goes through it."""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy
from jaxtyping import Float32, Int

from mcdist.distributed import ALONE, World
from mcdist.evaluate.protocols.class_maps import ClassMaps
from mcdist.evaluate.sharing import own_part
from mcdist.evaluate.table_names import mirrored_of
from mcdist.evaluate.view import StoreView
from mcdist.store.names import PHOTOS
from mcdist.store.store import Column

PIECE_VALUES, PIECE_PIXELS = 2**22, 2**22
"""Feature values in memory at a time, 16 MiB in float32, and pixels of their square label maps; but at least one photo."""


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
    """`photos`: those that are read. `maps` has the truth of every photo, at any size. `size_px`: the side at which photos were embedded.

    `num_passes`: how often the data set's photos are there, one pass after the other, each time augmented differently.
    """

    column: Column
    maps: ClassMaps
    photos: Int[numpy.ndarray, " P"]
    size_px: int
    num_passes: int = 1
    world: World = ALONE
    """The ranks among which `pieces` divides the photos; alone, they are all photos."""
    mirrored: Column | None = None
    """The mirrored photos' features, which are averaged with the photos' own where they are given."""

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
        """This rank's photos in order, in pieces."""
        for photos in self.photo_groups():
            yield self.take(photos)

    def photo_groups(self) -> Iterator[Int[numpy.ndarray, " B"]]:
        """The photos of each of `pieces`, whose features are not read."""
        height, width = self.grid
        size = max(1, min(PIECE_VALUES // (height * width * self.num_dims), PIECE_PIXELS // self.size_px**2))
        for start in own_part(range(0, len(self.photos), size), world=self.world):
            yield self.photos[start : start + size]

    def shared(self, store: StoreView) -> "PatchPieces":
        """Divided among the ranks that judge the store."""
        return replace(self, world=store.world)

    @property
    def passes(self) -> list[Int[numpy.ndarray, " P"]]:
        """The photos of each augmented pass over the data set; a single one where photos are as they are."""
        return numpy.split(self.photos, self.num_passes)

    def take(self, photos: Int[numpy.ndarray, " B"]) -> Piece:
        """Some photos, in the order asked for."""
        features = self.column.take(photos).astype(numpy.float32)
        return Piece(photos, features if self.mirrored is None else (features + self.mirrored.take(photos)) / 2)

    def only(self, photos: Int[numpy.ndarray, " P"]) -> "PatchPieces":
        """Of these photos alone."""
        return replace(self, photos=photos)

    def averaged(self, store: StoreView, *, encoder: str) -> "PatchPieces":
        """The same photos, their features averaged with those of the mirrored photos."""
        return replace(self, mirrored=store.store.column(PHOTOS, mirrored_of(encoder)))


def patch_pieces(store: StoreView, *, encoder: str) -> PatchPieces:
    """All photos of a store."""
    settings = store.store.manifest.plan.settings
    return PatchPieces(
        store.patches(encoder),
        ClassMaps(store.label_maps),
        numpy.arange(store.store.num_photos),
        size_px=int(settings["size_px"]),
        num_passes=int(settings.get("num_passes", 1)),
    )


def judged_encoders(store: StoreView) -> dict[str, str]:
    """Each encoder of the store -> the first encoder with the very same feature maps, which is judged once for both."""
    first_of: dict[str, str] = {}
    return {encoder: first_of.setdefault(store.patches(encoder).file_name, encoder) for encoder in store.encoders}
