"""Pixels: one photo's predicted map against its true one, as counts. Integers throughout, so a sum over photos is exact in any order."""

import numpy
from jaxtyping import Int, Shaped, UInt8

from mcdist.evaluate.metrics.labels import VOID_CLASS


def pixel_confusion(
    predicted: Shaped[numpy.ndarray, "H W"], *, truth: UInt8[numpy.ndarray, "H W"], num_rows: int, num_classes: int
) -> Int[numpy.ndarray, "R C"]:
    """Pixels by predicted number (row, 0..num_rows - 1) and true class (column). Void pixels of `truth` count nowhere."""
    assert predicted.shape == truth.shape, "both maps have the size at which they are scored"
    counted = truth != VOID_CLASS
    cells = numpy.bincount(predicted[counted].astype(numpy.int64) * num_classes + truth[counted], minlength=num_rows * num_classes)
    return cells.reshape(num_rows, num_classes)
