"""Job: what runs inside a job. `prepare` and `settle` on the first node, `task` once for each rank, as a small parent of the process that works.

    python -m mcdist.launch.job prepare FOLDER          before srun: refuses a job that makes no progress, builds missing shards
    python -m mcdist.launch.job task FOLDER             under srun: starts the work, passes signals on, writes down how it ended
    python -m mcdist.launch.job settle FOLDER CODE      after srun: done, or once more (scontrol requeue), or given up

The parent imports nothing large, so a signal that comes while the work still imports torch is kept and passed on when the work can handle it. Whether the
job starts again is decided when all tasks are gone: a rank that asked for it itself would be killed with the others.
"""

import ctypes
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import FrameType

from mcdist.errors import REQUEUE, in_plain_words
from mcdist.launch.outcome import QUIET, RANK_LOST, Fate, Outcome, judge
from mcdist.launch.progress import note_start, num_without_progress
from mcdist.launch.slurm_commands import job_facts
from mcdist.launch.spec import JobSpec, JobStart, TaskEnd, read_ends, read_spec, write_end

NOTICES = (signal.SIGUSR1, signal.SIGUSR2)
AGAIN_S = 1.0
"""After so many seconds a notice is passed on again, until the work ends: at first it may not listen yet."""
PREEMPTED_WAIT_S = 900.0
_PR_SET_PDEATHSIG = 1


def this_start() -> JobStart:
    """Which start of which job this is, from SLURM's variables (or those that mcdist/launch/local.py sets in their place)."""
    return JobStart(
        job_id=os.environ.get("SLURM_ARRAY_JOB_ID", os.environ["SLURM_JOB_ID"]),
        element=int(os.environ.get("SLURM_ARRAY_TASK_ID", "0")),
        restarts=int(os.environ.get("SLURM_RESTART_COUNT", "0")),
    )


def slurm_name() -> str:
    """What SLURM's commands call this job. An element's own number will not do: the last element has the number of the whole array."""
    array = os.environ.get("SLURM_ARRAY_JOB_ID")
    return f"{array}_{os.environ['SLURM_ARRAY_TASK_ID']}" if array else os.environ["SLURM_JOB_ID"]


def prepare(folder: Path) -> int:
    """0 where the tasks may start."""
    spec, start = read_spec(folder), this_start()
    work = spec.works[start.element]
    num = num_without_progress(folder, start=start, work=work, num_starts=start.restarts)
    if num >= spec.max_attempts:
        _say(f"given up: {num} starts in a row ended without a new checkpoint; the tasks' logs in {folder} say why. Submit again to try again")
        return RANK_LOST
    return subprocess.run([sys.executable, *work.prepare], env=work_environment(folder, spec), check=False).returncode if work.prepare else 0


def task(folder: Path) -> int:
    """Run this task's work; the exit code that srun shall see."""
    spec, start = read_spec(folder), this_start()
    rank = int(os.environ.get("SLURM_PROCID", "0"))
    code = _Parent().run([sys.executable, *spec.works[start.element].argv], environment=work_environment(folder, spec))
    write_end(TaskEnd(rank=rank, code=code, time_s=time.time()), folder=start.folder(folder))
    return 0 if code in QUIET else code


def settle(folder: Path, step_code: int) -> int:
    """Decide what becomes of the job, and do it; the job's exit code."""
    spec, start = read_spec(folder), this_start()
    ends = read_ends(start.folder(folder))
    outcome = judge(ends, num_tasks=spec.num_tasks, step_code=step_code, requeue_failures=spec.requeue_failures)
    num = note_start(folder, start=start, outcome=outcome, work=spec.works[start.element])
    _say(outcome.reason)
    if outcome.fate is Fate.stopped:
        _wait_where_preempted()
    if outcome.fate is Fate.again or (outcome.fate is Fate.again_if_progress and num < spec.max_attempts):
        return _requeue(outcome)
    if outcome.fate is Fate.again_if_progress:
        _say(f"given up: {num} starts in a row ended without progress; the tasks' logs in {folder} say why. Submit again to try again")
    return outcome.code


def work_environment(folder: Path, spec: JobSpec) -> dict[str, str]:
    """The environment of the work: the code of the submission comes first on Python's path, and the folder it is started in not at all."""
    code = str(folder / "code")
    paths = [path for path in os.environ.get("PYTHONPATH", "").split(os.pathsep) if path and path != code]
    return {**os.environ, "PYTHONPATH": os.pathsep.join([code, *paths]), "PYTHONSAFEPATH": "1", "MCDIST_COMMIT": spec.commit}


class _Parent:
    """Starts the work and waits for it. Notices (USR1, USR2) go on to it until it ends, SIGTERM once. SLURM signals every process, so SIGINT, of which a
    second one means something else, is passed on only where this process alone is told."""

    def __init__(self) -> None:
        self.notice = 0

    def run(self, command: list[str], *, environment: dict[str, str]) -> int:
        """The work's exit code, or 128 + the signal that killed it."""
        for number in NOTICES:
            signal.signal(number, self._note)  # before the work starts: a notice of its first instant is not lost
        child = subprocess.Popen(command, env=environment, preexec_fn=_as_work)
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda got, _: child.send_signal(got) if got == signal.SIGTERM or "MCDIST_LOCAL" in os.environ else None)
        while True:
            try:
                code = child.wait(timeout=AGAIN_S)
                return 128 - code if code < 0 else code
            except subprocess.TimeoutExpired:
                if self.notice:
                    child.send_signal(self.notice)

    def _note(self, number: int, frame: FrameType | None) -> None:
        self.notice = number


def _as_work() -> None:
    """In the child: it ignores notices until it has a handler, and is killed when its parent is, so that no rank works on unseen."""
    for number in NOTICES:
        signal.signal(number, signal.SIG_IGN)
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def _wait_where_preempted() -> None:
    """SLURM starts a job again that it preempted, but not one that ended by itself in its grace time: wait to be ended."""
    until_s = time.monotonic() + PREEMPTED_WAIT_S
    while time.monotonic() < until_s:
        facts = job_facts(slurm_name())
        if facts.get("JobState") != "RUNNING" or facts.get("PreemptTime", "None") in ("None", "N/A"):
            return
        time.sleep(1.0)


def _requeue(outcome: Outcome) -> int:
    """Have SLURM start this job again, unless it is being ended: then SLURM decides."""
    if "MCDIST_LOCAL" in os.environ:
        return REQUEUE
    job_id = slurm_name()
    state = job_facts(job_id).get("JobState")
    if state != "RUNNING":
        _say(f"not started again by itself: SLURM has the job as {state}")
        return outcome.code
    _say("asks SLURM to start this job again")
    done = subprocess.run(["scontrol", "requeue", job_id], capture_output=True, text=True, timeout=60, check=False)
    if done.returncode:
        _say(f"SLURM refused to requeue ({done.stderr.strip()}); submit it again, it continues from its last checkpoint")
        return outcome.code
    time.sleep(30)  # SLURM ends this script
    return 0


def _say(text: str) -> None:
    print(f"launch: {text}", flush=True)


def main(arguments: list[str]) -> int:
    """Run one of the three."""
    match arguments:
        case ["prepare", folder]:
            return prepare(Path(folder))
        case ["task", folder]:
            return task(Path(folder))
        case ["settle", folder, code]:
            return settle(Path(folder), int(code))
    print(__doc__, file=sys.stderr)
    return 2


if __name__ == "__main__":
    with in_plain_words():
        sys.exit(main(sys.argv[1:]))
