"""Confusion counts: one pass over the photos gives each object's class histogram; every clustering's confusion matrix is a sum of these rows."""

import numpy
from jaxtyping import Float, Int, Shaped, UInt8

from mcdist.evaluate.metrics.labels import VOID_CLASS


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


def foreground_iou(*, histograms: Int[numpy.ndarray, "O C"], background: Int[numpy.ndarray, " C"]) -> float:
    """IoU of all objects together with all classes but the first, over the whole set; 0 where there is neither."""
    inside, outside = histograms.sum(axis=0), background
    union = int(inside.sum() + outside[1:].sum())
    return float(inside[1:].sum() / union) if union else 0.0
