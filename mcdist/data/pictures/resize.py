"""Resizing maps: every pixel takes one value that was there."""

import numpy
from jaxtyping import Shaped


def resize_nearest(values: Shaped[numpy.ndarray, "H1 W1"], *, height: int, width: int) -> Shaped[numpy.ndarray, "H2 W2"]:
    """`values` at `height` x `width`: each pixel takes the value under its centre."""
    rows = (2 * numpy.arange(height) + 1) * values.shape[0] // (2 * height)
    columns = (2 * numpy.arange(width) + 1) * values.shape[1] // (2 * width)
    return values[rows[:, None], columns]
