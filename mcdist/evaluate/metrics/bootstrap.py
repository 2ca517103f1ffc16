"""Bootstrap: how far a score would move with other photos of the same kind.

A resampling draws as many photos as there are, with replacement, and the score is counted anew over those. What was fitted on the photos (clusters, their
matching with classes, a probe) stays as it is, so an interval says how much of a score is luck with the photos, and nothing about another fit. All rows
over the same number of photos see the same resamplings, in order: the difference of two rows, draw by draw, is the paired bootstrap. Counts are exact
integers. Efron 1979; percentile intervals as in Efron and Tibshirani 1993, chapter 13.
"""

from collections.abc import Iterable, Iterator
from typing import Any

import numpy
from jaxtyping import Float, Float32, Int

from mcdist.evaluate.metrics.confusion import Absent, mean_iou

NUM_DRAWS = 1000
SEED = 0
_WEIGHTS_AT_ONCE = 2**17
"""Weights in memory at a time, 1 MiB, thrice; of more photos a single resampling's."""
_PHOTOS_AT_ONCE = 2**14
_EXACT_BELOW = 2**53
"""Whole numbers that float64 has all of."""


def draws_of_miou(
    counts: Iterable[Int[numpy.ndarray, "P C 3"]], *, absent: Absent = "left out", num_draws: int = NUM_DRAWS, seed: int = SEED
) -> tuple[float, ...]:
    """mIoU in % of each resampling, mean over the repetitions: the `draws` of a Row.

    Args:
        counts: for each repetition (a seed of the clustering) pixels of each photo and class: right, predicted, true (`confusion.class_counts`).
        absent: what a class counts that the resampling's photos do not show.

    Returns:
        A float32 value for each draw, NaN where it has no class to count; empty without repetitions or photos.

    Cost: num_draws x P x 3 C multiplications a repetition. Extra memory: 3 MiB and one piece of the counts, whatever the number of photos.
    """
    scores = [100 * mean_iou(resampled_totals(one, num_draws=num_draws, seed=seed), absent=absent) for one in counts if len(one)]
    if not scores:
        return ()
    return _as_draws(numpy.mean(scores, axis=0))


def draws_of_mean(values: Float[numpy.ndarray, " P"], *, num_draws: int = NUM_DRAWS, seed: int = SEED) -> tuple[float, ...]:
    """The mean over photos of each resampling, for scores that are such a mean. A photo whose value is NaN counts in no mean."""
    known = ~numpy.isnan(values)
    if not len(values):
        return ()
    pieces = [
        (weights @ numpy.where(known, values, 0.0), weights @ known.astype(numpy.float64)) for weights in _weights(len(values), num_draws=num_draws, seed=seed)
    ]
    sums, num_known = (numpy.concatenate(parts) for parts in zip(*pieces, strict=True))
    return _as_draws(numpy.divide(sums, num_known, out=numpy.full(len(sums), numpy.nan), where=num_known > 0))


def resampled_totals(counts: Int[numpy.ndarray, "P *rest"], *, num_draws: int = NUM_DRAWS, seed: int = SEED) -> Int[numpy.ndarray, "draws *rest"]:
    """The sum over photos of each resampling, exactly, for any score of such sums."""
    num_photos, rest = counts.shape[0], counts.shape[1:]
    flat = counts.reshape(num_photos, -1)
    is_exact = num_photos * int(flat.max(initial=0)) < _EXACT_BELOW
    dtype: Any = numpy.float64 if is_exact else numpy.int64  # float64 products run in BLAS
    totals = []
    for weights in _weights(num_photos, num_draws=num_draws, seed=seed):
        total = numpy.zeros((len(weights), flat.shape[1]), dtype=dtype)
        for first in range(0, num_photos, _PHOTOS_AT_ONCE):
            piece = slice(first, first + _PHOTOS_AT_ONCE)
            total += weights[:, piece].astype(dtype, copy=False) @ flat[piece].astype(dtype)
        totals.append(total.astype(numpy.int64))
    return numpy.concatenate(totals).reshape(-1, *rest)


def _weights(num_photos: int, *, num_draws: int, seed: int) -> Iterator[Float[numpy.ndarray, "d P"]]:
    """How often each photo is drawn in each resampling, a few resamplings at a time."""
    generator = numpy.random.default_rng(seed)
    at_once = max(1, _WEIGHTS_AT_ONCE // max(num_photos, 1))
    for first in range(0, num_draws, at_once):
        num = min(at_once, num_draws - first)
        drawn = generator.integers(num_photos, size=(num, num_photos))
        drawn += numpy.arange(num)[:, None] * num_photos
        yield numpy.bincount(drawn.ravel(), minlength=num * num_photos).reshape(num, num_photos).astype(numpy.float64)


def _as_draws(scores: Float[numpy.ndarray, " draws"]) -> tuple[float, ...]:
    rounded: Float32[numpy.ndarray, " draws"] = scores.astype(numpy.float32)
    return tuple(rounded.tolist())
