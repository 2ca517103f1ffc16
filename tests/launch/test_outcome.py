"""What becomes of a job, from how its tasks ended."""

import pytest

from mcdist.launch.outcome import Fate, judge
from mcdist.launch.spec import TaskEnd


def _ends(*codes: int | None) -> list[TaskEnd]:
    """In order of time; None left nothing."""
    return [TaskEnd(rank=rank, code=code, time_s=float(rank)) for rank, code in enumerate(codes) if code is not None]


@pytest.mark.parametrize(
    ("codes", "step_code", "fate", "code"),
    [
        ((0, 0), 0, Fate.done, 0),
        ((75, 75), 0, Fate.again, 75),
        ((75, None), 137, Fate.again, 75),
        ((143, 143), 0, Fate.stopped, 143),
        ((130, 130), 0, Fate.stopped, 130),
        ((2, 143), 2, Fate.failed, 2),
        ((1, 7), 143, Fate.failed, 1),
        ((5, None), 137, Fate.failed, 5),
        ((7, 143), 143, Fate.again_if_progress, 7),
        ((137, 7), 143, Fate.again_if_progress, 7),
        ((None, 143), 143, Fate.again_if_progress, 7),
        ((None, None), 1, Fate.again_if_progress, 7),
        ((0, None), 137, Fate.again_if_progress, 7),
    ],
)
def test_the_first_task_to_end_badly_is_the_cause(codes: tuple[int | None, ...], step_code: int, fate: Fate, code: int) -> None:
    outcome = judge(_ends(*codes), num_tasks=len(codes), step_code=step_code)
    assert (outcome.fate, outcome.code) == (fate, code), outcome


def test_a_part_of_an_array_runs_again_whatever_failed_but_a_wrong_command() -> None:
    assert judge(_ends(3), num_tasks=1, step_code=3, requeue_failures=True).fate is Fate.again_if_progress
    assert judge(_ends(2), num_tasks=1, step_code=2, requeue_failures=True).fate is Fate.failed


def test_the_reason_names_the_ranks() -> None:
    assert judge(_ends(None, 0, None), num_tasks=3, step_code=137).reason == "ranks 0, 2 are gone without a word"
    assert judge(_ends(0, 139), num_tasks=2, step_code=139).reason == "rank 1 was killed by signal 11"
