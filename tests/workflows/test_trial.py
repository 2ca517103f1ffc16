"""A trial: what a photo costs is told apart from what a start costs, and no stage is free."""

import pytest

from mcdist.workflows.trial import FEW, LEAST_SHARE, MORE, _Measured


def test_a_photo_and_a_start_are_told_apart() -> None:
    measured = _Measured(few_s=2.0 + FEW * 0.5, more_s=2.0 + MORE * 0.5)
    assert (measured.photo_s, measured.start_s) == pytest.approx((0.5, 2.0))


@pytest.mark.parametrize("few_s", [3.0, 6.0, 9.0])
def test_noise_makes_no_stage_free(few_s: float) -> None:
    measured = _Measured(few_s=few_s, more_s=6.0)
    assert measured.photo_s >= LEAST_SHARE * 6.0 / MORE > 0
    assert measured.start_s >= 0
