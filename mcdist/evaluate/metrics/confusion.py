"""Confusion counts, the one home: pixels by prediction and by true class, as exact int64 counts, whatever the number of pixels.

`Confusion` adds up maps as they come. One pass over the photos also gives each object's class histogram, and every clustering's confusion matrix is a sum
of those rows. All scores follow from the counts.
"""

from typing import Literal

import numpy
from jaxtyping import Float, Int, Integer

from mcdist.errors import DataError
from mcdist.evaluate.metrics.labels import VOID_CLASS
from mcdist.ops.joint_counts.op import joint_counts
from mcdist.ops.joint_counts.reference import counted_pairs, table_of

Absent = Literal["left out", "zero", "zero if predicted"]
"""What a class counts in a mean that the ground truth never shows: nothing, 0, or 0 only where it is predicted."""
RIGHT, PREDICTED_PX, TRUE_PX = 0, 1, 2
"""Last axis of class counts: pixels that are predicted and truly of a class, predicted, and truly of it."""


class Confusion:
    """Pixels by predicted number (row) and true class (column), added up map by map.

    `counts [R, C]` int64. A void pixel of the truth counts nowhere; any other value that is neither a row nor a class is an error, never a silent change of
    a score.
    """

    def __init__(self, *, num_rows: int, num_classes: int, void: int = VOID_CLASS) -> None:
        """Nothing is counted yet."""
        self.counts: Int[numpy.ndarray, "R C"] = numpy.zeros((num_rows, num_classes), dtype=numpy.int64)
        self._void = void

    def add(self, predicted: Integer[numpy.ndarray, "*shape"], *, truth: Integer[numpy.ndarray, "*same"]) -> None:
        """Count the pixels of one photo, or of several; raises what `pixel_confusion` raises, and then counts none of them."""
        num_rows, num_classes = self.counts.shape
        self.counts += pixel_confusion(predicted, truth=truth, num_rows=num_rows, num_classes=num_classes, void=self._void)


def pixel_confusion(
    predicted: Integer[numpy.ndarray, "*shape"], *, truth: Integer[numpy.ndarray, "*same"], num_rows: int, num_classes: int, void: int = VOID_CLASS
) -> Int[numpy.ndarray, "R C"]:
    """Pixels of one photo by predicted number (row, 0..num_rows - 1) and true class (column). Void pixels of `truth` count nowhere.

    Raises:
        DataError: the sizes differ, or a pixel that counts has a prediction that is no row or a truth that is no class.
    """
    if predicted.shape != truth.shape:
        raise DataError(f"a prediction must have the size of its ground truth, {truth.shape}, got {predicted.shape}; resize it by the protocol's rule")
    found = joint_counts(predicted, truth, num_rows=num_rows, num_columns=num_classes, skipped=void)
    _require_none(found.stray_row, limit=num_rows, what="a predicted number")
    _require_none(found.stray_column, limit=num_classes, what="an id of the ground truth")
    return found.counts


def object_histograms(
    objects: Integer[numpy.ndarray, "H W"],
    *,
    truth: Integer[numpy.ndarray, "H W"],
    num_objects: int,
    num_classes: int,
) -> Int[numpy.ndarray, "objects_and_background classes"]:
    """Pixels of each class in each object: row i for object i, row 0 for whatever lies outside objects 1..num_objects. Void pixels of `truth` count nowhere."""
    rows, columns, num_pixels = counted_pairs(objects, truth, skipped=VOID_CLASS)
    rows = numpy.where((rows < 0) | (rows > num_objects), 0, rows)
    return table_of(rows, columns, num_pixels, shape=(num_objects + 1, num_classes))


def _require_none(stray: int | None, *, limit: int, what: str) -> None:
    if stray is not None:
        raise DataError(f"{what} must be in 0..{limit - 1}, got {stray}; map it to a class or to void first")


def cluster_confusion(
    clusters: Int[numpy.ndarray, " O"],
    *,
    histograms: Int[numpy.ndarray, "O C"],
    background: Int[numpy.ndarray, " C"],
    num_clusters: int,
) -> Int[numpy.ndarray, "clusters_and_background C"]:
    """Pixels by cluster and true class, exactly as a loop over all pixels would count them; the last row is what lies outside every object."""
    confusion = numpy.zeros((num_clusters + 1, background.size), dtype=numpy.int64)
    numpy.add.at(confusion, clusters, histograms)
    confusion[num_clusters] += background
    return confusion


def pair_iou(confusion: Int[numpy.ndarray, "R C"]) -> Float[numpy.ndarray, "R C"]:
    """IoU of every row with every class over all counted pixels: n_rc / (n_r + n_c - n_rc); 0 where both are empty."""
    union = confusion.sum(axis=1, keepdims=True) + confusion.sum(axis=0, keepdims=True) - confusion
    return confusion / numpy.maximum(union, 1)


def class_confusion(confusion: Int[numpy.ndarray, "R C"], *, class_of: Int[numpy.ndarray, " R"]) -> Int[numpy.ndarray, "C C"]:
    """Rows added up by the class each was matched to: row = predicted class, column = true class."""
    matched = numpy.zeros((confusion.shape[1], confusion.shape[1]), dtype=numpy.int64)
    numpy.add.at(matched, class_of, confusion)
    return matched


def class_iou(confusion: Int[numpy.ndarray, "C C"]) -> Float[numpy.ndarray, " C"]:
    """IoU of each class from a matched confusion matrix; a class that nothing was matched to has 0."""
    return numpy.diag(pair_iou(confusion))


def class_counts(confusion: Int[numpy.ndarray, "*lead C C"]) -> Int[numpy.ndarray, "*lead C 3"]:
    """Pixels of each class: right, predicted, true; all that an IoU takes. Row = predicted class, column = true class."""
    return numpy.stack([numpy.diagonal(confusion, axis1=-2, axis2=-1), confusion.sum(axis=-1), confusion.sum(axis=-2)], axis=-1)


def segment_class_counts(segments: Int[numpy.ndarray, "P R C"], *, class_of: Int[numpy.ndarray, " R"]) -> Int[numpy.ndarray, "P C 3"]:
    """The class counts of each photo whose segments (rows of pixels by true class) were given classes."""
    matched = numpy.zeros((len(segments), segments.shape[2], segments.shape[2]), dtype=numpy.int64)
    for row, predicted in enumerate(class_of):
        matched[:, predicted] += segments[:, row]
    return class_counts(matched)


def object_class_counts(
    class_of_object: Int[numpy.ndarray, " O"],
    *,
    class_of_background: int,
    histograms: Int[numpy.ndarray, "O C"],
    outside: Int[numpy.ndarray, "P C"],
    photo_of: Int[numpy.ndarray, " O"],
) -> Int[numpy.ndarray, "P C 3"]:
    """The class counts of each photo where every object has one class, and what lies outside of all objects `class_of_background`."""
    counts = numpy.zeros((*outside.shape, 3), dtype=numpy.int64)
    objects = numpy.arange(len(class_of_object))
    numpy.add.at(counts[..., RIGHT], (photo_of, class_of_object), histograms[objects, class_of_object])
    numpy.add.at(counts[..., PREDICTED_PX], (photo_of, class_of_object), histograms.sum(axis=1))
    numpy.add.at(counts[..., TRUE_PX], photo_of, histograms)
    counts[:, class_of_background, RIGHT] += outside[:, class_of_background]
    counts[:, class_of_background, PREDICTED_PX] += outside.sum(axis=1)
    counts[..., TRUE_PX] += outside
    return counts


def counts_iou(counts: Int[numpy.ndarray, "*lead C 3"]) -> Float[numpy.ndarray, "*lead C"]:
    """IoU of each class from its counts; 0 where it is neither predicted nor true."""
    union = counts[..., PREDICTED_PX] + counts[..., TRUE_PX] - counts[..., RIGHT]
    return counts[..., RIGHT] / numpy.maximum(union, 1)


def pixel_accuracy(confusion: Int[numpy.ndarray, "C C"]) -> float:
    """Share of the counted pixels whose predicted class is the true one; NaN without a pixel."""
    num_pixels = confusion.sum()
    return float(numpy.trace(confusion) / num_pixels) if num_pixels else numpy.nan


def mean_iou(counts: Int[numpy.ndarray, "*lead C 3"], *, absent: Absent) -> Float[numpy.ndarray, "*lead"]:
    """Mean IoU over classes, a share; NaN where no class counts."""
    iou = counts_iou(counts)
    counted = (counts[..., TRUE_PX] > 0) | (absent == "zero") | ((absent == "zero if predicted") & (counts[..., PREDICTED_PX] > 0))
    num = counted.sum(axis=-1)
    sums = numpy.asarray((iou * counted).sum(axis=-1))
    return numpy.divide(sums, num, out=numpy.full(sums.shape, numpy.nan), where=num > 0)


def foreground_iou(*, histograms: Int[numpy.ndarray, "O C"], background: Int[numpy.ndarray, " C"]) -> float:
    """IoU of all objects together with all classes but the first, over the whole set; 0 where there is neither."""
    inside, outside = histograms.sum(axis=0), background
    union = int(inside.sum() + outside[1:].sum())
    return float(inside[1:].sum() / union) if union else 0.0
