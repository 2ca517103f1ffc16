"""Assignment: which class each cluster belongs to, from one confusion matrix.

The field's ways, by the names that protocols print:

- `hungarian`: one to one, so that the sum of IoU is the largest (MaskContrast, Leopart, NeCo).
- `hungarian-pixels`: one to one, so that the most pixels are right (IIC, PiCIE, STEGO).
- `majority`: each cluster the class with most of its pixels. The same as the class of the highest precision, as Leopart calls it.
- `iou`: each cluster the class with the highest IoU; what MaskContrast's code calls majority vote.
"""

from typing import Literal

import numpy
from jaxtyping import Int
from scipy.optimize import linear_sum_assignment

from mcdist.choices import require_choice
from mcdist.evaluate.metrics.confusion import pair_iou

HUNGARIAN, HUNGARIAN_PIXELS = "hungarian", "hungarian-pixels"
MAJORITY, HIGHEST_IOU = "majority", "iou"
MANY_TO_ONE = (MAJORITY, HIGHEST_IOU)
Matching = Literal["hungarian", "hungarian-pixels", "majority", "iou"]


def matching_for(*, num_clusters: int, num_classes: int) -> str:
    """One-to-one where clusters and the background row fit the classes; with more clusters (overclustering) many clusters share a class."""
    return HUNGARIAN if num_clusters + 1 <= num_classes else MAJORITY


def assign(confusion: Int[numpy.ndarray, "R C"], *, matching: str, unmatched: int = 0) -> Int[numpy.ndarray, " R"]:
    """The class of each row: clusters, and what a protocol appends to them, such as a background row; of several classes that score the same, the first.

    `unmatched`: the class of rows that a one-to-one matching leaves over, where there are more rows than classes.

    Raises:
        ConfigError: an unknown matching.
    """
    return _assigned(_scores(confusion, matching=matching), matching=matching, unmatched=unmatched)


def assign_segments(confusion: Int[numpy.ndarray, "R C"], *, matching: str) -> Int[numpy.ndarray, " R"]:
    """The class of each row of a segmentation whose row 0 is background by its own account: that row is class 0, whatever it covers.

    Many to one, a group may be background too; one to one, each group is another class of 1.., and background where no class is left for it.

    Raises:
        ConfigError: an unknown matching.
    """
    scores = _scores(confusion, matching=matching)[1:]
    of_groups = _assigned(scores, matching=matching, unmatched=0) if matching in MANY_TO_ONE else _assigned(scores[:, 1:], matching=matching, unmatched=-1) + 1
    return numpy.concatenate([[0], of_groups])


def _scores(confusion: Int[numpy.ndarray, "R C"], *, matching: str) -> numpy.ndarray:
    """What a matching adds up, or looks for the largest of."""
    require_choice("matching", matching, choices=Matching)
    return pair_iou(confusion) if matching in (HUNGARIAN, HIGHEST_IOU) else confusion


def _assigned(scores: numpy.ndarray, *, matching: str, unmatched: int) -> Int[numpy.ndarray, " R"]:
    if matching in MANY_TO_ONE:
        return scores.argmax(axis=1)
    class_of = numpy.full(len(scores), unmatched)
    rows, columns = linear_sum_assignment(scores, maximize=True)
    class_of[rows] = columns
    return class_of
