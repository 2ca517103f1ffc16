"""Trials that take turns: a process for each way to be compared, a pass of each in each round, so that what else the machine does meets all of them.

A trial's program prints a line of JSON once it is ready, then one for each line that it reads, and one more when its input ends.
"""

import json
import os
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from tempfile import TemporaryFile
from threading import Timer
from typing import IO, Any

from benchmarks.harness.measurement import ROOT
from mcdist.errors import McdistError

PASS_METRICS = (("time", "ms"), ("CPU time", "ms"), ("system time", "ms"), ("page faults", "1/pass"))
"""What `answer` says of a pass."""
TIMEOUT_S = 900.0


class Trial:
    """One process. `ready`: what it said first. `passes`: what it answered to each pass; `last`: once it has ended."""

    def __init__(self, process: "subprocess.Popen[str]", *, command: str, errors: IO[bytes]) -> None:
        self.process, self.command, self.errors = process, command, errors
        self.ready: Any = self._answer()
        self.passes: list[list[float]] = []
        self.last: Any = None

    def take_pass(self) -> list[float]:
        """One more pass."""
        assert self.process.stdin is not None
        self.process.stdin.write("\n")
        self.process.stdin.flush()
        self.passes.append(self._answer())
        return self.passes[-1]

    def end(self) -> None:
        """Have it say its last line and leave."""
        assert self.process.stdin is not None
        self.process.stdin.close()
        self.last = self._answer()

    def _answer(self) -> Any:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            self.process.wait()
            self.errors.seek(0)
            last_words = self.errors.read().decode(errors="replace").strip()[-600:] or f"no answer within {TIMEOUT_S:g} s"
            raise McdistError(f"{self.command} ended with {self.process.returncode}: {last_words}")
        return json.loads(line)


@contextmanager
def started(module: str, *arguments: str, environment: dict[str, str | None]) -> Iterator[Trial]:
    """`python -m module` with these environment variables (None: without), ready for its first pass; it is ended with the block, and after TIMEOUT_S."""
    without = {name for name, value in environment.items() if value is None}
    outside = {name: value for name, value in os.environ.items() if name not in without}
    own = {name: value for name, value in environment.items() if value is not None}
    paths = os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
    command = [sys.executable, "-m", module, *arguments]
    with (
        TemporaryFile() as errors,
        subprocess.Popen(
            command, env={**outside, **own, "PYTHONPATH": paths}, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors, text=True
        ) as process,
    ):
        limit = Timer(TIMEOUT_S, process.kill)
        limit.daemon = True
        limit.start()
        try:
            yield Trial(process, command=" ".join(command[1:]), errors=errors)
        finally:
            limit.cancel()
            process.kill()


def answer(action: Callable[[], object], *, ready: object, last: Callable[[], object]) -> None:
    """The trial's side: say `ready`, take a pass for each line, answer in the order of PASS_METRICS, and say what `last` gives."""
    print(json.dumps(ready), flush=True)
    for _ in sys.stdin:
        before = _spent()
        action()
        print(json.dumps([now - then for then, now in zip(before, _spent(), strict=True)]), flush=True)
    print(json.dumps(last()), flush=True)


def ratios_by_round(own: Sequence[Sequence[float]], base: Sequence[Sequence[float]], *, place: int, passes_per_round: int) -> list[float]:
    """How many times the base's sum of a metric each round's passes took."""
    sums = [
        [sum(taken[place] for taken in passes[start : start + passes_per_round]) for start in range(0, len(passes), passes_per_round)] for passes in (own, base)
    ]
    return [mine / theirs for mine, theirs in zip(*sums, strict=True)]


def _spent() -> tuple[float, float, float, int]:
    """Time, CPU time and system time in ms, and page faults, since some moment."""
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return 1000 * time.perf_counter(), 1000 * (usage.ru_utime + usage.ru_stime), 1000 * usage.ru_stime, usage.ru_minflt
