"""Confusion counts: one pass over the photos gives each object's class histogram; every clustering's confusion matrix is a sum of these rows."""

from typing import Literal

import numpy
from jaxtyping import Float, Int, Shaped, UInt8

from mcdist.evaluate.metrics.labels import VOID_CLASS

Absent = Literal["left out", "zero", "zero if predicted"]
"""What a class counts in a mean that the ground truth never shows: nothing, 0, or 0 only where it is predicted."""
RIGHT, PREDICTED_PX, TRUE_PX = 0, 1, 2
"""Last axis of class counts: pixels that are predicted and truly of a class, predicted, and truly of it."""


def object_histograms(
    objects: Shaped[numpy.ndarray, "H W"],
    *,
    truth: UInt8[numpy.ndarray, "H W"],
    num_objects: int,
    num_classes: int,
) -> Int[numpy.ndarray, "objects_and_background classes"]:
    """Pixels of each class in each object: row i for object i, row 0 for whatever lies outside objects 1..num_objects. Void pixels of `truth` count nowhere."""
    counted = truth != VOID_CLASS
    numbers = objects[counted].astype(numpy.int64)
    numbers[(numbers < 0) | (numbers > num_objects)] = 0
    cells = numpy.bincount(numbers * num_classes + truth[counted], minlength=(num_objects + 1) * num_classes)
    return cells.reshape(num_objects + 1, num_classes)


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
