"""A curve: gaps where nothing is known, bins where there is too much to draw."""

import math

import numpy

from mcdist.records import Record
from mcdist.report.page.curve import POINTS_MAX, make_curve


def records(values: list[float]) -> list[Record]:
    return [Record(step=step, name="loss", value=value, unit="") for step, value in enumerate(values, start=1)]


def test_a_short_curve_is_its_values_without_a_band() -> None:
    curve = make_curve(records([1.0, 2.0, 3.0]))
    assert curve.steps.tolist() == [1, 2, 3] and curve.values.tolist() == [1, 2, 3] and not curve.has_band


def test_what_is_not_finite_is_a_gap() -> None:
    curve = make_curve(records([1.0, math.nan, 3.0, math.inf, 5.0, 6.0, -math.inf]))
    assert [(run.start, run.stop) for run in curve.runs()] == [(0, 1), (2, 3), (4, 6)]


def test_a_long_curve_is_means_within_a_band_of_minimum_and_maximum() -> None:
    values = [float(number % 7) for number in range(10 * POINTS_MAX)]
    values[:10] = [math.nan] * 10
    values[10] = math.nan
    curve = make_curve(records(values))
    assert curve.has_band and len(curve.values) == POINTS_MAX
    assert numpy.isnan([curve.values[0], curve.low[0], curve.high[0]]).all()
    assert curve.low[1] == min(values[11:20]) and curve.high[1] == max(values[11:20]) and curve.values[1] == numpy.mean(values[11:20])
    assert [(run.start, run.stop) for run in curve.runs()] == [(1, POINTS_MAX)]
