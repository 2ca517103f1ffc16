"""Score: what names and probes are compared by."""

import numpy
from jaxtyping import Int

from mcdist.evaluate.metrics.confusion import class_iou


def miou(confusion: Int[numpy.ndarray, "C C"]) -> float:
    """Mean IoU in % over the classes that the ground truth shows; rows are predictions."""
    return 100 * float(class_iou(confusion)[confusion.sum(axis=0) > 0].mean())
