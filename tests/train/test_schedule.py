import pytest

from mcdist.choices import Schedule
from mcdist.train.schedule import lr_at


def _lrs(schedule: Schedule, *, warmup_steps: int = 0) -> list[float]:
    return [lr_at(step, num_steps=10, lr=1.0, schedule=schedule, warmup_steps=warmup_steps) for step in range(11)]


@pytest.mark.parametrize("schedule", ["poly", "cosine"])
def test_a_schedule_falls_from_lr_to_zero(schedule: Schedule) -> None:
    lrs = _lrs(schedule)
    assert lrs[0] == 1.0
    assert lrs == sorted(lrs, reverse=True)
    assert lrs[-1] == pytest.approx(0.0)


def test_poly_is_the_papers_power() -> None:
    assert _lrs("poly")[5] == pytest.approx(0.5**0.9)


def test_warm_up_rises_in_equal_parts_to_lr() -> None:
    assert _lrs("constant", warmup_steps=4) == pytest.approx([0.25, 0.5, 0.75, 1.0] + [1.0] * 7)
