"""Claim: one attempt holds a run folder. A second start is refused while the first lives; one that was replaced can write nothing any more.

Attempt n holds the folder `attempts/NNNNNN/`, its *ground*. Making that folder takes the number: of two that try, the file system lets one through,
on NFS too (no `flock`). Everything of a run is written on the ground and renamed into its place. Whoever comes after removes the ground: from then on
a rename of the older attempt fails on the server itself, however late it comes and whatever it believed of its lease.

The holder changes a `beat` on its ground every sixth of the lease. A challenger takes over when it saw no change for a whole lease by its own steady
clock; clocks of two machines are never compared. It does so at once where it can know better: the process is gone from this machine, or SLURM
requeued the same job.
"""

import contextlib
import os
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from mcdist.errors import HeldError, MachineError, McdistError, SupersededError
from mcdist.resilience.attempts import Attempt, follows_in_job, is_dead, read_attempt, record_path, this_process
from mcdist.run_dir import write_atomically

BEAT_NAME = "beat"
BEATS_A_LEASE = 6
POLL_S = 0.25
MAX_SWEEPS = 20


class Claim:
    """The hold of this process on a run folder; use as a context. Made by `take`."""

    def __init__(self, attempt: Attempt, *, folder: Path) -> None:
        self.attempt = attempt
        self.ground = folder / f"{attempt.number:06d}"
        self.lost = False
        """Whether a newer attempt holds the folder, as far as is known; noticed within a sixth of the lease."""
        self._record = record_path(folder, attempt.number)
        self._lock = threading.Lock()
        self._over = threading.Event()
        self._beats = 0
        self._thread = threading.Thread(target=self._keep, name="lease", daemon=True)

    def __enter__(self) -> "Claim":
        """Keep the lease."""
        self._beat()
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        """Write down how it ended and let go; a next start need not wait."""
        self._over.set()
        self._thread.join()
        if isinstance(error, McdistError):
            self.attempt = replace(self.attempt, exit_code=error.exit_code)
        elif kind is None and self.attempt.exit_code is None:
            self.attempt = replace(self.attempt, exit_code=0)
        if not self.lost:
            with contextlib.suppress(SupersededError, MachineError):
                self.note()
            _remove(self.ground)

    def note(self, **facts: Any) -> None:
        """Write `began_step`, `saved_step` or `exit_code` into this attempt's record.

        Raises:
            SupersededError: a newer attempt holds the run folder.
        """
        with self._lock:
            self.attempt = replace(self.attempt, **facts)
            self.write(self._record, self.attempt.to_json())

    def write(self, path: Path, content: bytes) -> None:
        """`write_atomically` of what belongs to the run.

        Raises:
            SupersededError: a newer attempt holds the run folder; nothing was written.
            MachineError: the disk refuses.
        """
        with self.fenced() as folder:
            write_atomically(path, content, folder=folder)

    @contextlib.contextmanager
    def fenced(self) -> Iterator[Path]:
        """The folder where things of the run are made, to be renamed into their place; what fails because it was taken away is a SupersededError."""
        try:
            yield self.ground
        except MachineError:
            self.check()
            raise

    def check(self) -> None:
        """SupersededError where a newer attempt holds the run folder."""
        if not self.ground.is_dir():
            self.lost = True
            raise self.superseded()

    def superseded(self) -> SupersededError:
        """What to say once this attempt was replaced."""
        newest = max(_numbers(self.ground.parent), default=0)
        by = read_attempt(self.ground.parent, newest)
        return SupersededError(
            f"{self.ground.parent.parent} is held by {by.words() if by else f'attempt {newest}'} now, this was attempt {self.attempt.number}: it was silent "
            "for the length of its lease, or its job was requeued; what it saved before stands, nothing else of it was written"
        )

    def _keep(self) -> None:
        while not self.lost and not self._over.wait(self.attempt.lease_s / BEATS_A_LEASE):
            self._beat()

    def _beat(self) -> None:
        self._beats += 1
        beside = self.ground / f".{BEAT_NAME}"
        try:
            beside.write_text(f"{self._beats}\n")
            beside.replace(self.ground / BEAT_NAME)
        except OSError:  # a network that is cut comes back, or the lease ends
            self.lost = not self.ground.is_dir()


def take(run: Path, *, attempts: Path, lease_s: float, say: Callable[[str], Any]) -> Claim:
    """Take the run folder `run`, whose attempts lie in `attempts`, or wait for a lease to end and take it then. `say` hears of a wait.

    Raises:
        HeldError: a process that lives holds it.
        MachineError: the folder cannot be written.
    """
    try:
        attempts.mkdir(parents=True, exist_ok=True)
        while True:
            newest = max(_numbers(attempts), default=0)
            if newest:
                _wait_until_free(run, attempts=attempts, number=newest, lease_s=lease_s, say=say)
            if claim := _try_number(attempts, number=newest + 1, lease_s=lease_s):
                break
    except OSError as error:
        if isinstance(error, McdistError):
            raise
        raise MachineError(f"cannot write in {attempts}: {error.strerror}; check its permissions, or choose another run.dir") from error
    for number in _numbers(attempts):
        if number < claim.attempt.number:
            _remove(attempts / f"{number:06d}")
    return claim


def _try_number(attempts: Path, *, number: int, lease_s: float) -> Claim | None:
    """The claim of that number; None where somebody else has or had it."""
    claim = Claim(this_process(number=number, lease_s=lease_s), folder=attempts)
    try:
        claim.ground.mkdir()
    except FileExistsError:
        return None
    if record_path(attempts, number).exists():  # taken, ended and left since the numbers were read
        claim.ground.rmdir()
        return None
    claim.note()
    return claim


def _wait_until_free(run: Path, *, attempts: Path, number: int, lease_s: float, say: Callable[[str], Any]) -> None:
    """Return once attempt `number` has ended, was replaced or is dead."""
    ground = attempts / f"{number:06d}"
    began_s, beat, told = time.monotonic(), _read(ground / BEAT_NAME), False
    while ground.is_dir():
        holder = read_attempt(attempts, number)
        if holder is not None:
            dead = is_dead(holder)
            if dead or follows_in_job(this_process(number=number + 1, lease_s=lease_s), earlier=holder):
                return
            if dead is False or _read(ground / BEAT_NAME) != beat:
                raise HeldError(
                    f"{run} is held by {holder.words()}, which is alive: two jobs cannot write one run; wait for it or end it, then give the same "
                    "command again, or give this run a folder of its own with run.dir=PATH"
                )
            lease_s = max(lease_s, holder.lease_s)
        if time.monotonic() - began_s > lease_s:
            say(f"{run}: nothing was heard of {holder.words() if holder else f'attempt {number}'} for {lease_s:g} s; taking over")
            return
        if not told:
            say(f"{run} was held by {holder.words() if holder else f'attempt {number}'}; waiting up to {lease_s:g} s to see whether it lives")
            told = True
        time.sleep(min(POLL_S, lease_s / BEATS_A_LEASE))


def _numbers(attempts: Path) -> list[int]:
    """Every number ever taken."""
    return sorted({int(name) for name in (path.name.removesuffix(".json") for path in attempts.iterdir()) if name.isdecimal()})


def _read(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:
        return ""


def _remove(ground: Path) -> None:
    """Take the ground away, also from under a process that still writes there. What NFS keeps for a process of this machine is moved aside."""
    for _ in range(MAX_SWEEPS):
        shutil.rmtree(ground, ignore_errors=True)
        if not ground.exists():
            return
    ground.rename(ground.with_name(f".{ground.name}.{os.getpid()}"))
