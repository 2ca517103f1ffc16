"""Truth: the ground truth of a feature store's photos, counted by class."""

from dataclasses import dataclass

import numpy
from jaxtyping import Bool, Int

from mcdist.errors import DataError
from mcdist.evaluate.metrics.confusion import foreground_iou
from mcdist.evaluate.metrics.labels import LabelMap
from mcdist.evaluate.table_names import BACKGROUND, HISTOGRAM, PHOTO
from mcdist.records.names import MASKS
from mcdist.store.names import PHOTOS
from mcdist.store.store import FeatureStore


@dataclass(frozen=True, slots=True)
class MaskCounts:
    """Pixels of each class over one set of object masks: in each object, and outside of all, photo by photo.

    `photo_of`: the photo of each object, a row of `outside`.
    """

    masks: str
    histograms: Int[numpy.ndarray, "O C"]
    outside: Int[numpy.ndarray, "P C"]
    photo_of: Int[numpy.ndarray, " O"]

    @property
    def background(self) -> Int[numpy.ndarray, " C"]:
        """Pixels outside of all objects over all photos."""
        return self.outside.sum(axis=0)

    @property
    def num_objects(self) -> int:
        """Objects over all photos."""
        return self.histograms.shape[0]

    @property
    def present(self) -> Bool[numpy.ndarray, " C"]:
        """Whether the ground truth shows a class at all; mIoU is the mean over these."""
        return self.histograms.sum(axis=0) + self.background > 0


@dataclass(frozen=True, slots=True)
class Truth:
    """`labels`: classes as asked for. `kept`: those that are evaluated, as indices into them. `counts`: by set of masks, of the kept classes."""

    labels: LabelMap
    kept: Int[numpy.ndarray, " C"]
    counts: dict[str, MaskCounts]
    num_photos_without: int
    """Photos without an evaluated pixel."""

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the evaluated classes, background first."""
        return tuple(self.labels.names[index] for index in self.kept)

    @property
    def absent(self) -> list[str]:
        """Classes that the ground truth never shows: they are in no mean. Background stays in the table even then, with IoU 0."""
        shown = {name for name, seen in zip(self.classes, next(iter(self.counts.values())).present, strict=True) if seen}
        return [name for name in self.labels.ids if name not in shown]

    @property
    def mask_iou_percent(self) -> dict[str, float]:
        """Foreground IoU of each set of masks with all classes but background; empty where there is no background."""
        if not self.labels.has_background:
            return {}
        return {masks: 100 * foreground_iou(histograms=counts.histograms, background=counts.background) for masks, counts in self.counts.items()}


def read_truth(store: FeatureStore, *, labels: LabelMap, dataset: str) -> Truth:
    """Count the classes of `labels` in a store. Kept are background, and each class that the ground truth shows.

    Raises:
        DataError: no photos, or no pixel of any class but background.
    """
    if not store.num_photos:
        raise DataError(f"evaluation needs photos, {dataset} gave none; set data.val to shards with photos and labels")
    counted = {masks: count_classes(store, masks=masks, labels=labels) for masks in MASKS if masks in store.tables}
    histograms, background, photo_of = next(iter(counted.values()))  # each set of masks, with what is outside of it, has all pixels
    num_pixels = background.sum(axis=0) + histograms.sum(axis=0)
    if not num_pixels[1:].any():
        raise DataError(
            f"evaluation needs ground truth of at least one of {', '.join(labels.names[1:])}; the {store.num_photos} photos of {dataset} show none; "
            "check the ids in evaluate.classes against the labels"
        )
    of_photo = background.sum(axis=1)
    numpy.add.at(of_photo, photo_of, histograms.sum(axis=1))
    kept = numpy.flatnonzero((num_pixels > 0) | (numpy.arange(len(labels.names)) == 0))
    counts = {masks: MaskCounts(masks, objects[:, kept], outside[:, kept], photo_of) for masks, (objects, outside, photo_of) in counted.items()}
    return Truth(labels=labels, kept=kept, counts=counts, num_photos_without=int((of_photo == 0).sum()))


def count_classes(
    store: FeatureStore, *, masks: str, labels: LabelMap
) -> tuple[Int[numpy.ndarray, "O L"], Int[numpy.ndarray, "photos L"], Int[numpy.ndarray, " O"]]:
    """(pixels of each class of `labels` in each object, outside of all in each photo, each object's photo)."""
    objects, outside = (
        numpy.concatenate([chunk.astype(numpy.int64) @ labels.of_ids for chunk in store.column(table, column).chunks()])
        for table, column in ((masks, HISTOGRAM), (PHOTOS, f"{BACKGROUND}/{masks}"))
    )
    return objects, outside, store.column(masks, PHOTO).read()
