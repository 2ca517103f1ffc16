"""Colours: pixel embeddings as pictures. Their three main directions over the photos shown become red, green and blue."""

from collections.abc import Sequence

import numpy
from jaxtyping import Float, UInt8

OUTSIDE_PERCENT = 1.0
"""Of the values of a channel, those that are cut off at each end, so that a few outliers do not take the range."""


def embedding_colours(maps: Sequence[Float[numpy.ndarray, "_ _ D"]]) -> list[UInt8[numpy.ndarray, "_ _ 3"]]:
    """PCA of the unit embeddings of all maps together: the same colour in two pictures is the same direction. No label and no cluster takes part."""
    if not maps:
        return []
    unit = [one / numpy.maximum(numpy.linalg.norm(one, axis=-1, keepdims=True), 1e-12) for one in maps]
    pixels = numpy.concatenate([one.reshape(-1, one.shape[-1]) for one in unit]).astype(numpy.float64)
    mean = pixels.mean(axis=0)
    _, directions = numpy.linalg.eigh((pixels - mean).T @ (pixels - mean))
    three = directions[:, ::-1][:, :3]
    three = three * numpy.sign(three[numpy.abs(three).argmax(axis=0), numpy.arange(three.shape[1])])
    scores = (pixels - mean) @ three
    low, high = numpy.percentile(scores, [OUTSIDE_PERCENT, 100 - OUTSIDE_PERCENT], axis=0)
    span = numpy.where(high > low, high - low, 1.0)
    return [_as_bytes(((one - mean) @ three - low) / span) for one in unit]


def _as_bytes(shares: Float[numpy.ndarray, "h w d"]) -> UInt8[numpy.ndarray, "h w 3"]:
    """0..1 as bytes; grey where embeddings have fewer than three dimensions."""
    missing = 3 - shares.shape[-1]
    filled = numpy.pad(shares, ((0, 0), (0, 0), (0, missing)), constant_values=0.5)
    return numpy.rint(255 * numpy.clip(filled, 0, 1)).astype(numpy.uint8)
