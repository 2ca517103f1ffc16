"""Difference: one row beside another, seed by seed and photo by photo, and whether that is more than chance."""

from dataclasses import dataclass

import numpy

from mcdist.records.draws import interval_of
from mcdist.records.evaluation import Row

CLEAR_STDS = 2.0
"""A mean difference of more than so many of its standard deviations is called clear."""


@dataclass(frozen=True, slots=True)
class Difference:
    """Mean and standard deviation (population, as a row's own) of the differences of two rows, value by value.

    `std` is None where there is nothing to pair: one value only, or other numbers of values. `interval`: 95 % of the differences over resamplings of the
    photos, draw by draw; None where a row has no draws.
    """

    mean: float
    std: float | None
    interval: tuple[float, float] | None = None

    @property
    def word(self) -> str:
        """ "clear" beyond CLEAR_STDS standard deviations of the seeds and with an interval over photos that leaves out 0, "equal" where no seed differs,
        else "unclear". What is not known is not asked for; empty where neither is."""
        if self.std is None and self.interval is None:
            return ""
        if self.mean == 0 and not self.std and self.interval in (None, (0.0, 0.0)):
            return "equal"
        beyond_seeds = self.std is None or abs(self.mean) > CLEAR_STDS * self.std
        beyond_photos = self.interval is None or not self.interval[0] <= 0 <= self.interval[1]
        return "clear" if beyond_seeds and beyond_photos else "unclear"


def difference(row: Row, *, baseline: Row, same_photos: bool = True) -> Difference:
    """`row` minus `baseline`; their values are those of the same seeds, their draws of the same resamplings where the photos are the same, in order."""
    interval = paired_interval(row, baseline=baseline) if same_photos else None
    if len(row.values) != len(baseline.values) or len(row.values) < 2:
        return Difference(row.mean - baseline.mean, None, interval)
    paired = numpy.subtract(row.values, baseline.values)
    return Difference(float(paired.mean()), float(paired.std()), interval)


def paired_interval(row: Row, *, baseline: Row) -> tuple[float, float] | None:
    """95 % of `row` minus `baseline` over resamplings of the photos that both saw; None where they have no draws to pair."""
    if not row.draws or len(row.draws) != len(baseline.draws):
        return None
    return interval_of(tuple(numpy.subtract(row.draws, baseline.draws).tolist()))
