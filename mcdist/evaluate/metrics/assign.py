"""Assignment: which class each cluster stands for, from one confusion matrix."""

from typing import Literal

import numpy
from jaxtyping import Int
from scipy.optimize import linear_sum_assignment

from mcdist.evaluate.metrics.confusion import pair_iou

HUNGARIAN = "hungarian"
MAJORITY = "majority"


def matching_for(*, num_clusters: int, num_classes: int) -> str:
    """One-to-one where clusters and the background row fit the classes; with more clusters (overclustering) many clusters share a class."""
    return HUNGARIAN if num_clusters + 1 <= num_classes else MAJORITY


def assign_segments(confusion: Int[numpy.ndarray, "R C"], *, matching: str) -> Int[numpy.ndarray, " R"]:
    """The class of each row of a segmentation whose row 0 is background by its own account: that row is class 0, whatever it covers.

    "hungarian": each group another class of 1.., so that the sum of IoU is the largest; needs no more groups than such classes.
    "majority": each group the class with most of its pixels, background too; the first such class where several tie.
    """
    if matching == MAJORITY:
        return numpy.concatenate([[0], confusion[1:].argmax(axis=1)])
    assert confusion.shape[0] <= confusion.shape[1], "one-to-one matching needs no more groups than classes"
    _, class_of = linear_sum_assignment(pair_iou(confusion)[1:, 1:], maximize=True)
    return numpy.concatenate([[0], class_of + 1])


def assign(confusion: Int[numpy.ndarray, "R C"], *, matching: str) -> Int[numpy.ndarray, " R"]:
    """The class of each row: clusters, then the background row, which takes part like any other.

    "hungarian": one row a class, no two rows the same, so that the sum of IoU is the largest; needs R <= C.
    "majority": the class with most pixels in the row; the first such class where several tie.
    """
    if matching == MAJORITY:
        return confusion.argmax(axis=1)
    assert confusion.shape[0] <= confusion.shape[1], "one-to-one matching needs no more rows than classes"
    _, class_of = linear_sum_assignment(pair_iou(confusion), maximize=True)
    return class_of


def assign_unmatched_to_first(confusion: Int[numpy.ndarray, "R C"], *, by: Literal["iou", "pixels"] = "iou") -> Int[numpy.ndarray, " R"]:
    """The class of each row, any number of rows: one row a class as far as both go, so that the sum of IoU, or the number of pixels that agree, is the
    largest; a row left over is class 0."""
    rows, classes = linear_sum_assignment(pair_iou(confusion) if by == "iou" else confusion, maximize=True)
    class_of = numpy.zeros(len(confusion), dtype=numpy.int64)
    class_of[rows] = classes
    return class_of


def assign_by_precision(confusion: Int[numpy.ndarray, "R C"]) -> Int[numpy.ndarray, " R"]:
    """The class of each row: the one with the largest share of the row's pixels, the first of several; class 0 for a row without pixels."""
    return confusion.argmax(axis=1)
