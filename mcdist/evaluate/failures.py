"""Failures: the photos that a result is worst on. They say more about it than those that are drawn evenly."""

import numpy
from jaxtyping import Float

from mcdist.evaluate.metrics.confusion import mean_iou, object_class_counts
from mcdist.evaluate.painting import Painting
from mcdist.evaluate.truth import MaskCounts


def photo_scores(painting: Painting, *, counts: MaskCounts) -> Float[numpy.ndarray, " P"]:
    """mIoU of each photo in %, over the classes that it shows or is given; NaN where no pixel counts."""
    found = object_class_counts(
        painting.class_of_object,
        class_of_background=painting.class_of_background,
        histograms=counts.histograms,
        outside=counts.outside,
        photo_of=counts.photo_of,
    )
    return 100 * mean_iou(found, absent="zero if predicted")


def lowest_places(scores: Float[numpy.ndarray, " P"], *, num: int) -> list[int]:
    """The photos with the lowest scores, lowest first; those without a score are left out."""
    known = numpy.flatnonzero(~numpy.isnan(scores))
    return known[numpy.argsort(scores[known], kind="stable")[:num]].tolist()
