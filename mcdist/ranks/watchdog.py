"""Watchdog: a rank that finishes no step for too long writes its threads' stacks down and leaves; a hang becomes a failure that a launcher can answer.

A thread watches, since the main one hangs. Where even that cannot run, because a call holds the interpreter, a timer in C ends the process.
"""

import faulthandler
import os
import threading
from pathlib import Path
from typing import TextIO

from mcdist.errors import RankLostError

FIRST_STEP_FACTOR = 3
"""The first step may take this many times longer: workers start, a model is compiled, kernels are tuned."""
LOOKS_A_TIMEOUT = 20
TIMER_FACTOR = 2


class Watchdog:
    """Context manager around the steps; `beat` after each. Ends the process with exit code 7 when none came for `timeout_s` seconds; 0: never."""

    def __init__(self, *, timeout_s: float, rank: int, folder: Path, log: Path, attempt_folder: Path) -> None:
        """`folder`: where this rank's stacks are written, a file a rank. `log`: gets one line; it is opened when the watch begins.

        `attempt_folder`: where the stacks are made before they are renamed into `folder`. A newer attempt at the run removes it and makes the
        log anew, so that a rank of an older one writes nothing any more.
        """
        self.timeout_s, self.rank = timeout_s, rank
        self.stacks = folder / f"rank_{rank:05d}.txt"
        self._log_path, self._attempt_folder = log, attempt_folder
        self._log: TextIO | None = None
        self._over = threading.Event()
        self._steps = 0
        self._thread = threading.Thread(target=self._watch, name="watchdog", daemon=True)

    def __enter__(self) -> "Watchdog":
        if self.timeout_s > 0:
            self._log = self._log_path.open("a") if self._log_path.exists() else None
            self._thread.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._over.set()
        if self._thread.is_alive():
            self._thread.join()
            faulthandler.cancel_dump_traceback_later()
        if self._log is not None:
            self._log.close()

    def beat(self) -> None:
        """A step is done."""
        self._steps += 1

    def _watch(self) -> None:
        """Silence is counted in looks, not by the clock: a job that was suspended as a whole has not looked either."""
        seen, silent_s, pause_s = 0, 0.0, self.timeout_s / LOOKS_A_TIMEOUT
        while not self._over.wait(pause_s):
            faulthandler.dump_traceback_later(TIMER_FACTOR * FIRST_STEP_FACTOR * self.timeout_s, exit=True)
            silent_s = silent_s + pause_s if self._steps == seen else 0.0
            seen = self._steps
            if silent_s >= self.timeout_s * (1 if seen else FIRST_STEP_FACTOR):
                self._leave(silent_s)

    def _leave(self, silent_s: float) -> None:
        """Write all threads' stacks down, then end: nothing can be unwound under a call that hangs."""
        line = (
            f"mcdist: rank {self.rank} finished no step for {silent_s:.0f} s (run.hang_timeout_s={self.timeout_s:g}), after {self._steps} steps of this start: "
            f"another rank is lost, or the data does not come; its threads' stacks: {self.stacks}; the same command continues from the last checkpoint\n"
        )
        try:
            beside = self._attempt_folder / f".{self.stacks.name}"
            with beside.open("w") as file:
                file.write(line)
                file.flush()
                faulthandler.dump_traceback(file=file, all_threads=True)
            self.stacks.parent.mkdir(exist_ok=True)
            beside.replace(self.stacks)
            if self._log is not None:
                self._log.write(line)
                self._log.flush()
        except OSError:
            faulthandler.dump_traceback(all_threads=True)
        os.write(2, line.encode())
        os._exit(RankLostError.exit_code)
