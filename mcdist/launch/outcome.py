"""Outcome: from how the tasks ended, what becomes of the job. A pure function, asked on the first node after the tasks are gone."""

import signal
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from mcdist.errors import REQUEUE, ConfigError, RankLostError
from mcdist.launch.spec import TaskEnd

RANK_LOST, WRONG_COMMAND = RankLostError.exit_code, ConfigError.exit_code
STOPPED = (128 + signal.SIGINT, 128 + signal.SIGTERM)
"""Ctrl-C and SIGTERM: saved and left for good; SLURM itself starts again whom it preempted."""
QUIET = (REQUEUE, *STOPPED)
"""Codes that all ranks agree on: a task returns 0 to srun instead, so that the first to leave does not get the others killed."""


class Fate(StrEnum):
    """What becomes of a job."""

    done = "done"
    again = "again"
    again_if_progress = "again if there is progress"
    stopped = "stopped"
    failed = "failed"


@dataclass(frozen=True, slots=True)
class Outcome:
    """The fate, its exit code, and a sentence for the log."""

    fate: Fate
    code: int
    reason: str


def judge(ends: Sequence[TaskEnd], *, num_tasks: int, step_code: int, requeue_failures: bool = False) -> Outcome:
    """What becomes of a job whose tasks ended as `ends` says, earliest first, and whose srun returned `step_code`.

    The earliest bad end is the cause: srun kills the others. A task without a record was killed together with what would have written it.
    """
    bad = [end for end in ends if end.code]
    asked = [end for end in bad if end.code == REQUEUE]
    if asked:
        return Outcome(Fate.again, REQUEUE, f"rank {asked[0].rank} saved and asks to go on")
    if not bad and len(ends) == num_tasks and step_code == 0:
        return Outcome(Fate.done, 0, "all tasks ended well")
    if bad and bad[0].code in STOPPED and step_code == 0:
        return Outcome(Fate.stopped, bad[0].code, "the tasks received a signal to stop, saved and ended")
    if bad and bad[0].code < 128 and bad[0].code != RANK_LOST:
        fate = Fate.again_if_progress if requeue_failures and bad[0].code != WRONG_COMMAND else Fate.failed
        return Outcome(fate, bad[0].code, f"task {bad[0].rank} ended with exit code {bad[0].code}")
    lost = _lost(bad, present={end.rank for end in ends}, num_tasks=num_tasks)
    return Outcome(Fate.again_if_progress, RANK_LOST, lost)


def _lost(bad: Sequence[TaskEnd], *, present: set[int], num_tasks: int) -> str:
    if bad and bad[0].code > 128 and bad[0].code not in STOPPED:
        return f"rank {bad[0].rank} was killed by signal {bad[0].code - 128}"
    missing = sorted(set(range(num_tasks)) - present)
    if missing:
        return f"ranks {', '.join(map(str, missing))} are gone without a word"
    return f"rank {bad[0].rank} lost another one (exit code {bad[0].code})" if bad else "srun failed"
