"""Follow: watch jobs until they are over, through requeues. squeue has the word; sacct, through submitit, only where the queue has forgotten a job."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, runtime_checkable

from mcdist.errors import MachineError
from mcdist.launch.slurm_commands import ask
from mcdist.report.job_view import JobRow
from mcdist.report.jsonl import read_metrics
from mcdist.run_dir import RunDir

POLL_S = 1.0
PATIENCE_S = 600.0
"""So long neither squeue nor sacct may say anything."""
SETTLE_S = 20.0
"""A job that lost its node, or was preempted, is for a moment over before SLURM has it wait again."""
OVER = ("COMPLETED", "FAILED", "CANCELLED", "TIMEOUT", "OUT_OF_MEMORY", "DEADLINE", "REVOKED", "BOOT_FAIL")
PERHAPS_OVER = ("NODE_FAIL", "PREEMPTED", "REQUEUED", "")


@dataclass(frozen=True, slots=True)
class Followed:
    """A job to watch: its id (ARRAY_ELEMENT in an array) and its run folder, where it has one."""

    job_id: str
    run_dir: Path | None


@runtime_checkable
class RowView(Protocol):
    """Whatever shows the rows: `JobView`, or a list in a test."""

    def update(self, rows: Sequence[JobRow]) -> None:
        """Show the rows, all of them."""
        ...


class JobStates:
    """The states of jobs of one id, as SLURM has them now, and whether they are final."""

    def __init__(self, jobs: Sequence[Followed]) -> None:
        self.jobs = jobs
        self.since_s: dict[str, float] = {}

    def ask(self) -> dict[str, tuple[str, str]]:
        """{job id: (state, nodes or reason)}; the state is "" where nobody knows the job."""
        main = self.jobs[0].job_id.partition("_")[0]
        answer = ask("squeue", "-h", "-a", "-r", "-t", "all", "-j", main, "-o", "%i|%T|%R") or ""
        known = {parts[0]: (parts[1], parts[2]) for parts in (line.split("|", 2) for line in answer.splitlines()) if len(parts) == 3}
        forgotten = [job.job_id for job in self.jobs if job.job_id not in known]
        return {**known, **({job_id: (self._from_accounts(job_id), "") for job_id in forgotten})}

    def is_over(self, job_id: str, *, state: str) -> bool:
        """A state that may still turn into waiting has to last."""
        if state in OVER:
            return True
        if state not in PERHAPS_OVER:
            self.since_s.pop(job_id, None)
            return False
        since_s = self.since_s.setdefault(job_id, time.monotonic())
        return time.monotonic() - since_s > (SETTLE_S if state else PATIENCE_S)

    def _from_accounts(self, job_id: str) -> str:
        from submitit.slurm.slurm import SlurmInfoWatcher

        watcher = SlurmInfoWatcher(delay_s=1)  # a new one each time: submitit keeps what it takes for an end
        watcher.register_job(job_id)
        state = watcher.get_state(job_id, mode="force").split(" ")[0]
        return "" if state == "UNKNOWN" else state


def follow(jobs: Sequence[Followed], *, view: RowView) -> int:
    """Watch until all jobs are over. 0 where all ended well, else 1.

    Raises:
        MachineError: SLURM knows nothing of a job for ten minutes.
    """
    states = JobStates(jobs)
    while True:
        now = states.ask()
        view.update([JobRow(job.job_id, now[job.job_id][0] or "unknown", now[job.job_id][1], _newest_records(job.run_dir)) for job in jobs])
        if all(states.is_over(job.job_id, state=now[job.job_id][0]) for job in jobs):
            break
        time.sleep(POLL_S)
    if any(not state for state, _ in now.values()):
        raise MachineError(f"neither squeue nor sacct knew job {jobs[0].job_id} for {PATIENCE_S:g} s; look at the logs in its launch folder")
    return 0 if all(now[job.job_id][0] == "COMPLETED" for job in jobs) else 1


def _newest_records(run_dir: Path | None) -> tuple[()] | tuple:
    """The last step's records; none where they cannot be read just now."""
    if run_dir is None:
        return ()
    try:
        records = read_metrics(RunDir(run_dir).metrics)
    except Exception:  # a run that continues rewrites the file
        return ()
    return tuple(record for record in records if record.step == records[-1].step)
