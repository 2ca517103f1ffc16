"""Curve: a recorded value over the steps as the points, the band and the gaps that a chart draws."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy

from mcdist.records import Record

POINTS_MAX = 120
"""Longer curves are drawn as the means of bins, with a band from their minimum to their maximum."""


@dataclass(frozen=True, slots=True)
class Curve:
    """NaN where nothing finite is known. `low` and `high` are the values themselves unless they were put into bins."""

    steps: numpy.ndarray
    values: numpy.ndarray
    low: numpy.ndarray
    high: numpy.ndarray

    @property
    def has_band(self) -> bool:
        """Whether values were put into bins."""
        return self.low is not self.values

    def runs(self) -> list[slice]:
        """The stretches between gaps."""
        edges = numpy.flatnonzero(numpy.diff(numpy.pad(numpy.isfinite(self.values), 1).astype(int)))
        return [slice(int(begin), int(end)) for begin, end in edges.reshape(-1, 2)]


def make_curve(records: Sequence[Record]) -> Curve:
    """The curve of one record name, in the order of its steps."""
    steps = numpy.array([record.step for record in records], dtype=numpy.float64)
    values = numpy.array([record.value for record in records], dtype=numpy.float64)
    values[~numpy.isfinite(values)] = numpy.nan
    if len(steps) <= POINTS_MAX:
        return Curve(steps, values, values, values)
    bins = numpy.array_split(numpy.arange(len(steps)), POINTS_MAX)
    means, low, high = (_each(measure, values, bins=bins) for measure in (numpy.mean, numpy.min, numpy.max))
    return Curve(_each(numpy.mean, steps, bins=bins), means, low, high)


def _each(measure: Callable[[numpy.ndarray], float], values: numpy.ndarray, *, bins: list[numpy.ndarray]) -> numpy.ndarray:
    """measure(the finite values) of each bin; NaN without one."""
    finite = [values[places][numpy.isfinite(values[places])] for places in bins]
    return numpy.array([float(measure(part)) if len(part) else math.nan for part in finite])
