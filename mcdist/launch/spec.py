"""JobSpec: what a submission runs, written to its folder as job.json and read again inside the job. No shell text, no pickle.

A submission's folder is in the run folder, launch/0001 and so on: job.json, config.yaml, submission.sh, the code as it was, the tasks' logs, and
for each start of the job (in attempts) how every task ended.
"""

import json
from dataclasses import asdict, dataclass
from pathlib import Path

from mcdist.errors import DataError
from mcdist.json_text import parse_json


@dataclass(frozen=True, slots=True)
class Work:
    """What one element of a job array does, or the whole job. Commands are arguments after `python`, never shell text."""

    argv: tuple[str, ...]
    run_dir: str
    """Where the run's checkpoints show its progress; "" where there is no run."""
    prepare: tuple[str, ...] = ()
    """Done once on the first node before; () for nothing."""


@dataclass(frozen=True, slots=True)
class JobSpec:
    """A submission: one Work, or one for each element of an array."""

    works: tuple[Work, ...]
    num_tasks: int
    """Of each element: the ranks of a training, or 1."""
    requeue_failures: bool
    """Run again whatever ended badly, but for a wrong command (exit code 2); for parts of an array, which keep what they finished."""
    max_attempts: int
    """So many starts in a row without progress, then it is given up."""
    commit: str


def write_spec(spec: JobSpec, *, folder: Path) -> None:
    """Write `folder`/job.json."""
    (folder / "job.json").write_text(json.dumps(asdict(spec), indent=1) + "\n")


def read_spec(folder: Path) -> JobSpec:
    """Read `folder`/job.json.

    Raises:
        DataError: it is not there or no JobSpec.
    """
    path = folder / "job.json"
    try:
        content = parse_json(path.read_text())
        works = tuple(Work(argv=tuple(work["argv"]), run_dir=work["run_dir"], prepare=tuple(work["prepare"])) for work in content.pop("works"))
        return JobSpec(works=works, **content)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(f"expected a job's description at {path}, found none that can be read ({error}); submit it anew") from error


@dataclass(frozen=True, slots=True)
class JobStart:
    """One start of a job by the cluster: its id, the array element (or 0) and how often SLURM had started it before."""

    job_id: str
    element: int
    restarts: int

    def folder(self, submission: Path) -> Path:
        """Where the tasks of this start leave how they ended."""
        return submission / "attempts" / f"{self.job_id}_{self.element}.{self.restarts:03d}"


@dataclass(frozen=True, slots=True)
class TaskEnd:
    """How a task ended: `code` is its exit code, or 128 + the signal that killed it."""

    rank: int
    code: int
    time_s: float


def write_end(end: TaskEnd, *, folder: Path) -> None:
    """Leave it beside, then rename, so that a reader sees it whole."""
    folder.mkdir(parents=True, exist_ok=True)
    beside = folder / f".rank-{end.rank}"
    beside.write_text(json.dumps(asdict(end)))
    beside.replace(folder / f"rank-{end.rank}.json")


def read_ends(folder: Path) -> list[TaskEnd]:
    """What the tasks of a start left, in order of time."""
    ends = [TaskEnd(**parse_json(path.read_text())) for path in folder.glob("rank-*.json")]
    return sorted(ends, key=lambda end: end.time_s)
