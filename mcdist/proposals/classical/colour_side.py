"""Colour side: whether a superpixel's colour occurs mostly inside or outside, wherever the superpixel is."""

import numpy
from jaxtyping import Float32


def colour_side(
    alike: Float32[numpy.ndarray, "S N"], *, within: Float32[numpy.ndarray, " N"], without: Float32[numpy.ndarray, " N"]
) -> Float32[numpy.ndarray, " S"]:
    """How much more often a superpixel's colour occurs inside than outside, 0..1: a kernel density of each.

    `alike`: the kernel between each superpixel and those that the model is of; `within` and `without`: their areas inside and outside.
    """
    foreground, background = alike @ within / max(within.sum(), 1e-6), alike @ without / max(without.sum(), 1e-6)
    return (foreground / (foreground + background + 1e-9)).astype(numpy.float32)
