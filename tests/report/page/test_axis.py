"""The axis of a chart: round numbers, never many, and places that fit its ends."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mcdist.report.page.axis import TICKS_MAX, Axis, round_step, text_width


def test_ends_are_at_the_ends_and_the_paper_may_run_backwards() -> None:
    axis = Axis(2.0, 4.0, 100.0, 20.0)
    assert [axis.at(value) for value in (2.0, 3.0, 4.0)] == [100, 60, 20]


@pytest.mark.parametrize(
    ("low", "high", "ticks"),
    [(0, 100, [0, 20, 40, 60, 80, 100]), (0, 0.0042, [0, 0.001, 0.002, 0.003, 0.004]), (-1, 1, [-1, -0.5, 0, 0.5, 1]), (93, 100, [94, 96, 98, 100])],
)
def test_ticks_are_round(low: float, high: float, ticks: list[float]) -> None:
    assert Axis(float(low), float(high), 0.0, 1.0).ticks() == pytest.approx(ticks)


@given(st.floats(-1e9, 1e9), st.floats(1e-3, 1e9))
def test_ticks_are_few_and_within_the_range(low: float, span: float) -> None:
    axis = Axis(low, low + span, 0.0, 1.0)
    ticks = axis.ticks()
    assert 1 <= len(ticks) <= TICKS_MAX
    slack = 1e-6 * (span + abs(low))
    assert all(axis.low - slack <= tick <= axis.high + slack for tick in ticks)


def test_whole_ticks_are_whole_numbers() -> None:
    assert Axis(0.98, 3.02, 0.0, 1.0).ticks(whole=True) == [1, 2, 3]


@given(st.floats(1e-12, 1e12))
def test_a_round_step_is_the_least_that_is_large_enough(least: float) -> None:
    step = round_step(least)
    assert least * (1 - 1e-8) <= step <= 2.5 * least
    leading = step / 10.0 ** math.floor(math.log10(step) + 1e-9)
    assert min(abs(leading - times) for times in (1, 2, 2.5, 5)) < 1e-6


def test_signs_of_full_width_count_as_wide() -> None:
    assert text_width("猫猫", size=10.0) > text_width("ab", size=10.0)
