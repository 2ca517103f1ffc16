"""Draws: a score of each of many resamplings of the photos, as text for JSON, and the interval that they span."""

import base64

import numpy

LEVEL_PERCENT = 95.0
"""Of an interval: between its ends lies this share of the draws."""


def interval_of(draws: tuple[float, ...]) -> tuple[float, float] | None:
    """The 2.5th and the 97.5th percentile of the draws; None without one. A draw that has no score (NaN) is left out."""
    known = numpy.array(draws)[~numpy.isnan(draws)] if draws else numpy.zeros(0)
    if not len(known):
        return None
    outside = (100 - LEVEL_PERCENT) / 2
    low, high = numpy.percentile(known, [outside, 100 - outside])
    return float(low), float(high)


def packed(draws: tuple[float, ...]) -> str:
    """The draws as little-endian float32 in base64: 5 KiB for a thousand."""
    return base64.b64encode(numpy.array(draws, dtype="<f4").tobytes()).decode("ascii")


def unpacked(text: str) -> tuple[float, ...]:
    """Inverse of `packed`; ValueError for other text."""
    return tuple(numpy.frombuffer(base64.b64decode(text, validate=True), dtype="<f4").astype(float).tolist())
