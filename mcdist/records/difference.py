"""Difference: one row beside another, seed by seed, and whether that is more than chance between seeds."""

from dataclasses import dataclass

import numpy

from mcdist.records.evaluation import Row

CLEAR_STDS = 2.0
"""A mean difference of more than so many of its standard deviations is called clear."""


@dataclass(frozen=True, slots=True)
class Difference:
    """Mean and standard deviation (population, as a row's own) of the differences of two rows, value by value.

    `std` is None where there is nothing to pair: one value only, or other numbers of values.
    """

    mean: float
    std: float | None

    @property
    def word(self) -> str:
        """ "clear" beyond CLEAR_STDS standard deviations, "equal" where no seed differs, else "unclear"; empty where the spread is not known."""
        if self.std is None:
            return ""
        if self.mean == self.std == 0:
            return "equal"
        return "clear" if abs(self.mean) > CLEAR_STDS * self.std else "unclear"


def difference(row: Row, *, baseline: Row) -> Difference:
    """`row` minus `baseline`; their values are those of the same seeds, in order."""
    if len(row.values) != len(baseline.values) or len(row.values) < 2:
        return Difference(row.mean - baseline.mean, None)
    paired = numpy.subtract(row.values, baseline.values)
    return Difference(float(paired.mean()), float(paired.std()))
