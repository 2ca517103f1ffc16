"""Attempts: a run's starts, each a small record `attempts/NNNNNN.json`: who held the run folder, from which step on, and how far it came.

A launcher reads here whether starting again makes progress. No torch.
"""

import json
import os
import socket
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from datetime import datetime
from pathlib import Path

from mcdist.errors import REQUEUE
from mcdist.json_text import parse_json
from mcdist.run_dir import RunDir


@dataclass(frozen=True, slots=True)
class Attempt:
    """One start of a run. `machine` and `process` identify one process, also after a reboot; `restart` is SLURM's count within `job`.

    `began_step` is None until the run's state was loaded, `saved_step` None until a checkpoint of this attempt was on the disk, `exit_code` None
    while it runs and for ever if it was killed.
    """

    number: int
    host: str
    machine: str
    pid: int
    process: str
    job: str
    restart: int
    since: str
    lease_s: float
    began_step: int | None = None
    saved_step: int | None = None
    exit_code: int | None = None

    @property
    def made_progress(self) -> bool:
        """Whether it left a checkpoint beyond the one it began from."""
        return self.saved_step is not None and (self.began_step is None or self.saved_step > self.began_step)

    def to_json(self) -> bytes:
        """The content of its file."""
        return json.dumps(asdict(self), indent=1).encode() + b"\n"

    def words(self) -> str:
        """Who it is, for a person."""
        job = f", SLURM job {self.job}" if self.job else ""
        return f"attempt {self.number} on {self.host} (process {self.pid}{job}, since {self.since})"


def this_process(*, number: int, lease_s: float, environment: Mapping[str, str] | None = None) -> Attempt:
    """The record of an attempt that begins here and now."""
    found = os.environ if environment is None else environment
    restart = found.get("SLURM_RESTART_COUNT", "")
    return Attempt(
        number=number,
        host=found.get("SLURMD_NODENAME") or socket.gethostname(),
        machine=_machine(),
        pid=os.getpid(),
        process=_process(os.getpid()),
        job=found.get("SLURM_JOB_ID", ""),
        restart=int(restart) if restart.isdecimal() else 0,
        since=datetime.now().astimezone().isoformat(timespec="seconds"),
        lease_s=lease_s,
    )


def is_dead(attempt: Attempt) -> bool | None:
    """Whether the attempt's process has ended; None where this machine cannot know, because it ran elsewhere."""
    if not attempt.machine or attempt.machine != _machine():
        return None
    return _process(attempt.pid) != attempt.process


def follows_in_job(attempt: Attempt, *, earlier: Attempt) -> bool:
    """Whether SLURM requeued the job of `earlier`, so that this attempt replaces it."""
    return bool(attempt.job) and attempt.job == earlier.job and attempt.restart > earlier.restart


def record_path(folder: Path, number: int) -> Path:
    """The record of attempt `number` in the folder `attempts`."""
    return folder / f"{number:06d}.json"


def read_attempt(folder: Path, number: int) -> Attempt | None:
    """The record of attempt `number`; None where there is none or no whole one."""
    try:
        content = parse_json(record_path(folder, number).read_text())
        found = {field.name: content[field.name] for field in fields(Attempt)}
        return replace(Attempt(**found), number=number)
    except (OSError, ValueError, KeyError, TypeError):
        return None


def list_attempts(folder: Path) -> list[Attempt]:
    """All records, oldest first."""
    numbers = sorted(int(path.stem) for path in folder.glob("[0-9]*.json") if path.stem.isdecimal())
    return [found for number in numbers if (found := read_attempt(folder, number)) is not None]


def attempts_without_progress(run_dir: Path) -> int:
    """How many of the newest attempts in a row left no new checkpoint in `run_dir`. Those that a notice stopped (exit code 75) do not count."""
    count = 0
    for attempt in reversed(list_attempts(RunDir(run_dir).attempts)):
        if attempt.made_progress:
            break
        count += attempt.exit_code != REQUEUE
    return count


def _machine() -> str:
    """This boot of this machine and this namespace of process ids: within it a process id means one process. Empty where the system does not say."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        return f"{socket.gethostname()}/{boot}/{Path('/proc/self/ns/pid').readlink()}"
    except OSError:
        return ""


def _process(pid: int) -> str:
    """When the process began, in ticks since boot: ids are given out again, this is not. Empty for one that is gone or only waits to be reaped."""
    try:
        after_name = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return ""
    return "" if after_name[0] in "ZX" else after_name[19]
