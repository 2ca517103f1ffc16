"""Claim: one attempt holds a run folder. A second start is refused while the first lives; one that was replaced can write nothing any more.

Attempt n holds the folder `attempts/NNNNNN/`. Making that folder takes the number: of two that try, the file system lets one through, on NFS
too (no `flock`). Everything of a run is made in that folder and renamed into its place. Whoever comes after removes the folder: from then on a
rename of the older attempt fails on the server itself, however late it comes and whatever it believed of its lease. Files that stay open to
append (metrics, log, bad samples) are made anew by each attempt, so that an older one appends to a file that has no name any more.

The holder changes a `beat` in its folder every sixth of the lease. A challenger takes over when it saw no change for a whole lease by its own
steady clock; clocks of two machines are never compared. It does so at once where it can know better: the process is gone from this machine, or
SLURM requeued the same job.
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
    """The hold of this process on a run folder; use as a context. Made by `claim_run`."""

    def __init__(self, attempt: Attempt, *, attempts: Path) -> None:
        self.attempt = attempt
        self.folder = attempts / f"{attempt.number:06d}"
        self.lost = False
        """Whether a newer attempt holds the folder, as far as is known; noticed within a sixth of the lease."""
        self._record = record_path(attempts, attempt.number)
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
            _remove(self.folder)

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
            yield self.folder
        except MachineError:
            self.check()
            raise

    def check(self) -> None:
        """SupersededError where a newer attempt holds the run folder."""
        if not self.folder.is_dir():
            self.lost = True
            raise self.superseded()

    def superseded(self) -> SupersededError:
        """What to say once this attempt was replaced."""
        newest = max(_numbers(self.folder.parent), default=0)
        by = read_attempt(self.folder.parent, newest)
        return SupersededError(
            f"{self.folder.parent.parent} is held by {by.words() if by else f'attempt {newest}'} now, this was attempt {self.attempt.number}: it was silent "
            "for the length of its lease, or its job was requeued; what it saved before is kept, it wrote nothing after that"
        )

    def _keep(self) -> None:
        while not self.lost and not self._over.wait(self.attempt.lease_s / BEATS_A_LEASE):
            self._beat()

    def _beat(self) -> None:
        self._beats += 1
        beside = self.folder / f".{BEAT_NAME}"
        try:
            beside.write_text(f"{self._beats}\n")
            beside.replace(self.folder / BEAT_NAME)
        except OSError:  # a network that is cut comes back, or the lease ends
            self.lost = not self.folder.is_dir()


def claim_run(run: Path, *, attempts: Path, lease_s: float, say: Callable[[str], Any]) -> Claim:
    """Claim the run folder `run`, whose attempts are in `attempts`, or wait for a lease to end and claim it then. `say` is called with a line about a wait.

    Raises:
        HeldError: a live process holds it.
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
    claim = Claim(this_process(number=number, lease_s=lease_s), attempts=attempts)
    try:
        claim.folder.mkdir()
    except FileExistsError:
        return None
    if record_path(attempts, number).exists():  # taken, ended and left since the numbers were read
        claim.folder.rmdir()
        return None
    claim.note()
    return claim


def _wait_until_free(run: Path, *, attempts: Path, number: int, lease_s: float, say: Callable[[str], Any]) -> None:
    """Return once attempt `number` has ended, was replaced or is dead."""
    folder = attempts / f"{number:06d}"
    began_s, beat, has_said = time.monotonic(), _read(folder / BEAT_NAME), False
    while folder.is_dir():
        holder = read_attempt(attempts, number)
        if holder is not None:
            dead = is_dead(holder)
            if dead or follows_in_job(this_process(number=number + 1, lease_s=lease_s), earlier=holder):
                return
            if dead is False or _read(folder / BEAT_NAME) != beat:
                raise HeldError(
                    f"{run} is held by {holder.words()}, which is alive: two jobs cannot write one run; wait for it or end it, then run the same "
                    "command again, or give this run a folder of its own with run.dir=PATH"
                )
            lease_s = max(lease_s, holder.lease_s)
        if time.monotonic() - began_s > lease_s:
            say(f"{run}: {holder.words() if holder else f'attempt {number}'} was silent for {lease_s:g} s; taking over")
            return
        if not has_said:
            say(f"{run} was held by {holder.words() if holder else f'attempt {number}'}; waiting up to {lease_s:g} s to see whether it is alive")
            has_said = True
        time.sleep(min(POLL_S, lease_s / BEATS_A_LEASE))


def _numbers(attempts: Path) -> list[int]:
    """Every number ever taken."""
    return sorted({int(name) for name in (path.name.removesuffix(".json") for path in attempts.iterdir()) if name.isdecimal()})


def _read(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:
        return ""


def _remove(folder: Path) -> None:
    """Take an attempt's folder away, also from under a process that still writes there. What NFS keeps for a process of this machine is moved aside."""
    for _ in range(MAX_SWEEPS):
        shutil.rmtree(folder, ignore_errors=True)
        if not folder.exists():
            return
    folder.rename(folder.with_name(f".{folder.name}.{os.getpid()}"))
