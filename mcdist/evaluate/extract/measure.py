"""Measure: one batch of embedded photos as the rows of a feature store's tables. No pixel embedding is kept unless patches are asked for."""

import numpy
import torch
from jaxtyping import Float, Int, Int16, Shaped, UInt32
from torch import Tensor

from mcdist.data.pictures.resize import resize_nearest
from mcdist.errors import CheckpointError
from mcdist.evaluate.extract.embed import EmbeddedPhotos
from mcdist.evaluate.extract.masks import ObjectMasks
from mcdist.evaluate.extract.photos import Prepared
from mcdist.evaluate.extract.pool import Kind, count_pixels
from mcdist.evaluate.metrics.confusion import object_histograms
from mcdist.evaluate.table_names import (
    AREA_PX,
    BACKGROUND,
    BOX,
    DROPPED,
    HEIGHT,
    HISTOGRAM,
    ID,
    LABELS,
    LOST,
    NUM_IDS,
    NUMBER,
    PHOTO,
    SALIENCY,
    WIDTH,
    mirrored_of,
    patches_of,
    segments_of,
    vectors_of,
)
from mcdist.records.names import PREDICTED, TRAINED, TRAINED_DECODER
from mcdist.store.names import PHOTOS

Columns = dict[str, list[numpy.ndarray]]
"""By column name, pieces to be concatenated."""


class Batch:
    """Collects the rows of one batch. `first` is the index of its first photo in the data set."""

    def __init__(self, photos: list[Prepared], *, first: int, masks: dict[str, ObjectMasks]) -> None:
        self.photos, self.first, self.masks = photos, first, masks
        self.valid = {name: (count_pixels(mask) > 0).view(len(photos), -1).cpu().numpy() for name, mask in masks.items()}
        self.tables: dict[str, Columns] = {PHOTOS: {}, **{name: {} for name in masks}}

    def add_photos(self, embedded: EmbeddedPhotos, *, num_dropped: Int[numpy.ndarray, " B"]) -> None:
        """Sizes; where an encoder predicts masks, its logits and the components that were too small."""
        shapes = [tuple(photo.instances.shape) for photo in self.photos]
        columns = {HEIGHT: [height for height, _ in shapes], WIDTH: [width for _, width in shapes]}
        self._add(PHOTOS, {name: numpy.asarray(values, dtype=numpy.int32) for name, values in columns.items()})
        if embedded.saliency is None:
            return
        saliency = embedded.saliency.cpu().numpy()
        self._require_finite(bool(numpy.isfinite(saliency).all()), encoder=TRAINED)
        self._require_finite(embedded.groups is None or bool(torch.isfinite(embedded.groups).all()), encoder=TRAINED)
        self._add(PHOTOS, {DROPPED: numpy.asarray(num_dropped, dtype=numpy.int32), SALIENCY: saliency})

    def add_patches(self, embedded: EmbeddedPhotos) -> None:
        """The feature maps in fp16, channels last: [h, w, D] a photo."""
        for encoder, features in embedded.features.items():
            self._add_patches(features, encoder=encoder, column=patches_of(encoder))

    def add_mirrored(self, embedded: EmbeddedPhotos) -> None:
        """The feature maps of the mirrored photos, mirrored back."""
        for encoder, features in embedded.features.items():
            self._add_patches(features.flip(-1), encoder=encoder, column=mirrored_of(encoder))

    def add_decoded(self, decoded: Float[Tensor, "B C h w"]) -> None:
        """What the trained embedding is linear in, as `add_patches` has feature maps."""
        self._add_patches(decoded, encoder=TRAINED_DECODER, column=patches_of(TRAINED_DECODER))

    def add_label_maps(self) -> None:
        """The ground truth itself, of every pixel."""
        for photo in self.photos:
            assert photo.truth is not None, "photos were prepared with their ground truth"
            self._add(LABELS, {ID: photo.truth.numpy().ravel()})

    def _add_patches(self, features: Float[Tensor, "B _ h w"], *, encoder: str, column: str) -> None:
        patches = features.permute(0, 2, 3, 1).half()
        self._require_finite(bool(torch.isfinite(patches).all()), encoder=encoder)
        self._add(PHOTOS, {column: patches.cpu().numpy()})

    def add_segments(self, maps: dict[int, Int16[Tensor, "B S S"]]) -> None:
        """Pixels by group and id of the ground truth, at the photo's own size, of each set of groups."""
        for num_groups, segments in maps.items():
            counts = [_segment_counts(segments[place], photo=photo, num_groups=num_groups) for place, photo in enumerate(self.photos)]
            self._add(PHOTOS, {segments_of(num_groups): numpy.stack(counts)})

    def add_vectors(self, vectors: dict[Kind, Float[Tensor, "_ _"]]) -> None:
        """Of every object that has a pixel, its vector of each kind."""
        for (masks, pooling, encoder), values in vectors.items():
            found = values.cpu()[torch.from_numpy(self.valid[masks]).flatten()]
            self._require_finite(bool(torch.isfinite(found).all()), encoder=encoder)
            self._add(masks, {vectors_of(pooling, encoder): found.numpy()})

    def add_objects(self) -> None:
        """Photo, number, area and box of every object that has a pixel, and the ground truth's ids in it, all at the photo's own size."""
        predicted = self.masks[PREDICTED].objects.cpu().numpy() if PREDICTED in self.masks else None
        for place, photo in enumerate(self.photos):
            height, width = photo.instances.shape
            for masks in self.masks:
                is_predicted = masks == PREDICTED and predicted is not None
                own_size = resize_nearest(predicted[place], height=height, width=width) if is_predicted else photo.instances.numpy()
                self._add_objects(photo, masks=masks, place=place, objects=own_size)

    def _add_objects(self, photo: Prepared, *, masks: str, place: int, objects: Shaped[numpy.ndarray, "H W"]) -> None:
        valid = self.valid[masks][place]
        numbers = numpy.flatnonzero(valid) + 1
        inside = [objects == number for number in numbers]
        self._add(
            masks,
            {
                PHOTO: numpy.full(len(numbers), self.first + place, dtype=numpy.int64),
                NUMBER: numbers.astype(numpy.int32),
                AREA_PX: numpy.array([int(mask.sum()) for mask in inside], dtype=numpy.int64),
                BOX: numpy.array([_box(mask) for mask in inside], dtype=numpy.float64).reshape(-1, 4),
            },
        )
        self._add(PHOTOS, {f"{LOST}/{masks}": numpy.array([_num_lost(objects, valid=valid)], dtype=numpy.int32)})
        if photo.truth is not None:
            counts = object_histograms(objects, truth=photo.truth.numpy(), num_objects=len(valid), num_classes=NUM_IDS)
            outside = counts[0] + counts[1:][~valid].sum(axis=0)  # objects that gave no vector count as outside
            self._add(masks, {HISTOGRAM: counts[1:][valid].astype(numpy.uint32)})
            self._add(PHOTOS, {f"{BACKGROUND}/{masks}": outside[None].astype(numpy.uint32)})

    def _add(self, table: str, columns: dict[str, numpy.ndarray]) -> None:
        for name, values in columns.items():
            self.tables.setdefault(table, {}).setdefault(name, []).append(values)

    def _require_finite(self, finite: bool, *, encoder: str) -> None:
        if not finite:
            keys = ", ".join(photo.key for photo in self.photos)
            raise CheckpointError(f"the embeddings of {encoder} must be finite, they are not in the photos {keys}; evaluate an earlier checkpoint")


def concatenated(batches: list[dict[str, Columns]]) -> dict[str, dict[str, numpy.ndarray]]:
    """The rows of all batches of a chunk, in order."""
    first = batches[0]
    return {
        table: {name: numpy.concatenate([piece for batch in batches for piece in batch[table][name]]) for name in columns} for table, columns in first.items()
    }


def _segment_counts(segments: Int16[Tensor, "S S"], *, photo: Prepared, num_groups: int) -> UInt32[numpy.ndarray, "K1 256"]:
    assert photo.truth is not None
    height, width = photo.instances.shape
    own_size = resize_nearest(segments.cpu().numpy(), height=height, width=width)
    return object_histograms(own_size, truth=photo.truth.numpy(), num_objects=num_groups, num_classes=NUM_IDS).astype(numpy.uint32)


def _num_lost(objects: Shaped[numpy.ndarray, "H W"], *, valid: numpy.ndarray) -> int:
    """Objects of the photo's own map that have no pixel after resizing."""
    shown = numpy.bincount(objects[objects > 0], minlength=1) > 0
    return int(shown.sum() - shown[1 : len(valid) + 1][valid[: len(shown) - 1]].sum())


def _box(inside: Shaped[numpy.ndarray, "H W"]) -> tuple[float, float, float, float]:
    """Top, left, bottom, right of a mask as shares of its size; the whole where it is empty."""
    rows, columns = numpy.flatnonzero(inside.any(axis=1)), numpy.flatnonzero(inside.any(axis=0))
    if not len(rows):
        return 0.0, 0.0, 1.0, 1.0
    height, width = inside.shape
    return float(rows[0] / height), float(columns[0] / width), float((rows[-1] + 1) / height), float((columns[-1] + 1) / width)
