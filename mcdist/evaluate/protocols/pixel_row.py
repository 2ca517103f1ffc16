"""PixelRow: from predicted maps to a row of mIoU with its interval over photos. What every patch protocol has in common."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy
from jaxtyping import Int, Shaped, UInt8

from mcdist.distributed import World
from mcdist.evaluate.metrics.bootstrap import draws_of_miou
from mcdist.evaluate.metrics.confusion import PREDICTED_PX, RIGHT, TRUE_PX, Absent, Confusion, counts_iou, mean_iou, pixel_confusion
from mcdist.evaluate.protocols.class_maps import first_class
from mcdist.evaluate.sharing import summed
from mcdist.evaluate.truth import Truth
from mcdist.records import Row, Subject
from mcdist.records.names import MIOU, TRAINED


class PixelCounts:
    """Pixels by predicted class (row) and true class (column) over all photos, and pixels of each photo and class: right, predicted, true.

    Row and column C are void: a prediction may be void, as where no neighbour has a class. Memory: 24 (C + 1) bytes a photo.
    """

    def __init__(self, *, num_photos: int, num_classes: int) -> None:
        """Nothing counted."""
        self.num_classes = num_classes
        self.confusion = numpy.zeros((num_classes + 1, num_classes), dtype=numpy.int64)
        self.by_photo = numpy.zeros((num_photos, num_classes + 1, 3), dtype=numpy.int64)

    def add(self, photo: int, predicted: Shaped[numpy.ndarray, "H W"], *, truth: UInt8[numpy.ndarray, "H W"]) -> None:
        """Count one photo's map; a predicted number of C or more is void."""
        rows = numpy.minimum(predicted, self.num_classes)
        confusion = pixel_confusion(rows, truth=truth, num_rows=self.num_classes + 1, num_classes=self.num_classes)
        self.confusion += confusion
        own = self.by_photo[photo]
        own[:-1, RIGHT] += numpy.diagonal(confusion)
        own[:, PREDICTED_PX] += confusion.sum(axis=1)
        own[:-1, TRUE_PX] += confusion.sum(axis=0)

    def of_classes(self, *, absent: Absent) -> Int[numpy.ndarray, "P columns 3"]:
        """The counts of the classes, and of void where a prediction of it counts as a class of its own."""
        return self.by_photo if absent == "zero if predicted" else self.by_photo[:, :-1]

    def miou_percent(self, *, absent: Absent) -> float:
        """Over all photos."""
        return float(100 * mean_iou(self.of_classes(absent=absent).sum(axis=0), absent=absent))


def counts_over_ranks(count: Callable[[], Sequence[PixelCounts]], *, world: World) -> Sequence[PixelCounts]:
    """What `count` gives of each rank's own photos, of the photos of all."""
    found: list[PixelCounts] = []

    def arrays() -> list[Int[numpy.ndarray, "..."]]:
        found.extend(count())
        return [array for counts in found for array in (counts.confusion, counts.by_photo)]

    sums = summed(arrays, world=world)
    for counts, confusion, by_photo in zip(found, sums[::2], sums[1::2], strict=True):
        counts.confusion, counts.by_photo = confusion, by_photo
    return found


Maps = Callable[[], Iterator[tuple[int, Shaped[numpy.ndarray, "H W"], UInt8[numpy.ndarray, "H W"]]]]
"""Gives (photo, predicted numbers, true classes) of every photo of this rank, the same each time it is called."""


def counts_of(maps: Maps, *, num_photos: int, num_classes: int, world: World) -> PixelCounts:
    """The counts of predicted classes, of the photos of all ranks."""

    def own() -> list[PixelCounts]:
        counts = PixelCounts(num_photos=num_photos, num_classes=num_classes)
        for photo, predicted, truth in maps():
            counts.add(photo, predicted, truth=truth)
        return [counts]

    return counts_over_ranks(own, world=world)[0]


def matched_counts(
    maps: Maps,
    *,
    num_photos: int,
    num_classes: int,
    num_clusters: int,
    match: Callable[[Int[numpy.ndarray, "K C"]], Int[numpy.ndarray, " K"]],
    world: World,
) -> tuple[PixelCounts, Int[numpy.ndarray, " K"]]:
    """(counts of clusters that `match` gave classes by their pixels of each class, these classes). Two passes over the maps, none of which is kept."""

    def own() -> list[Int[numpy.ndarray, "K C"]]:
        confusion = Confusion(num_rows=num_clusters, num_classes=num_classes)
        for _, predicted, truth in maps():
            confusion.add(predicted, truth=truth)
        return [confusion.counts]

    class_of = match(summed(own, world=world)[0])

    def renamed() -> Iterator[tuple[int, UInt8[numpy.ndarray, "H W"], UInt8[numpy.ndarray, "H W"]]]:
        for photo, predicted, truth in maps():
            yield photo, class_of.astype(numpy.uint8)[predicted], truth

    return counts_of(renamed, num_photos=num_photos, num_classes=num_classes, world=world), class_of


def pixel_row(protocol: str, encoder: str, *, found: Sequence[PixelCounts], absent: Absent, truth: Truth, facts: dict[str, Any]) -> Row:
    """mIoU of each repetition. Details: IoU of each class that the table shows (mean over repetitions), the confusion of the first repetition among these
    classes, and the share of its pixels predicted as void."""
    first = first_class(truth.labels)
    iou_percent, confusion = numpy.zeros(len(truth.labels.names)), numpy.zeros((len(truth.labels.names),) * 2, dtype=numpy.int64)
    iou_percent[first:] = numpy.mean([100 * counts_iou(one.by_photo[:, :-1].sum(axis=0)) for one in found], axis=0)
    confusion[first:, first:] = found[0].confusion[:-1]
    details = {
        **facts,
        "class_iou_percent": iou_percent[truth.kept].tolist(),
        "confusion": confusion[truth.kept][:, truth.kept].tolist(),
        "void_predicted_percent": float(100 * found[0].confusion[-1].sum() / max(1, found[0].confusion.sum())),
    }
    values = tuple(one.miou_percent(absent=absent) for one in found)
    draws = draws_of_miou([one.of_classes(absent=absent) for one in found], absent=absent)
    return Row(protocol=protocol, subject=Subject(encoder), metric=MIOU, unit="%", values=values, details=details, draws=draws)


def trained_place(rows: Sequence[Row]) -> int:
    """The place of the trained encoder's row; the first row where it has none."""
    encoders = [row.subject.encoder for row in rows]
    return encoders.index(TRAINED) if TRAINED in encoders else 0
