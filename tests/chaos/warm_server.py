"""The other end of warm.py: start command lines in a warm interpreter that has the shim in it, and wait for them."""

import json
import os
import select
import signal
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.chaos.shim import Plan
from tests.makers.many_ranks import free_port

ROOT = Path(__file__).parents[2]


@dataclass(frozen=True)
class Command:
    """One process: `mcdist ARGV`, or a module of these tests; as `rank` of `num_ranks` where it is one of several."""

    argv: tuple[str, ...]
    rank: int = 0
    num_ranks: int = 1
    module: str = ""
    poison: dict[str, Any] | None = None
    memory_mib: int = 0
    """MiB beyond what it has at its start; 0: as it comes."""

    def request(self, *, log: Path, port: int) -> dict[str, Any]:
        """As warm.py reads it."""
        environment = {"OMP_NUM_THREADS": "1", "COLUMNS": "200"}
        if self.num_ranks > 1:
            environment |= {"RANK": str(self.rank), "LOCAL_RANK": str(self.rank), "WORLD_SIZE": str(self.num_ranks), "LOCAL_WORLD_SIZE": str(self.num_ranks)}
            environment |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
        return {
            "argv": self.argv, "env": environment, "log": str(log), "module": self.module, "poison": self.poison, "memory_mib": self.memory_mib,
        }  # fmt: skip


@dataclass
class Ended:
    """How commands ended. A code below zero is the signal that ended it."""

    codes: list[int] = field(default_factory=list)
    seconds: float = 0.0
    hung: bool = False


class Warm:
    """A context: the warm interpreter, with the plan that its children follow."""

    def __init__(self, folder: Path, *, shim: Path) -> None:
        self.plan = Plan(folder / "plan")
        self._log = (folder / "warm.log").open("w")
        environment = os.environ | {
            "LD_PRELOAD": str(shim), "CHAOS_PLAN": str(self.plan.path), "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": "", "NO_COLOR": "1",
            "PYTHONPATH": os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH", "")))),
        }  # fmt: skip
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.chaos.warm"], cwd=ROOT, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._log, bufsize=0
        )
        self._pids: list[int] = []
        self._begun = 0.0
        if self._line(within_s=120) != b"ready\n":
            raise RuntimeError(f"the warm interpreter did not start: {Path(self._log.name).read_text()}")

    def __enter__(self) -> "Warm":
        return self

    def __exit__(self, *exception: object) -> None:
        self.kill()
        self._process.kill()
        self._process.wait()
        self._log.close()

    def start(self, commands: list[Command], *, log: Path) -> list[int]:
        """Start them together and return at once. What they print goes to `log`."""
        assert self._process.stdin is not None
        port = free_port()
        request = {"commands": [command.request(log=log, port=port) for command in commands]}
        self._begun = time.monotonic()
        self._process.stdin.write(json.dumps(request).encode() + b"\n")
        self._pids = json.loads(self._line(within_s=30))["pids"]
        return self._pids

    def wait(self, *, within_s: float = 120.0) -> Ended:
        """Until all have ended; what has not by then is killed, and that is a hang."""
        line = self._line(within_s=within_s)
        hung = not line
        if hung:
            self.kill()
            line = self._line(within_s=30)
        self._pids = []
        return Ended(json.loads(line)["codes"], time.monotonic() - self._begun, hung)

    def run(self, commands: list[Command], *, log: Path, within_s: float = 120.0) -> Ended:
        """Start and wait."""
        self.start(commands, log=log)
        return self.wait(within_s=within_s)

    def signal(self, number: int, *, rank: int | None = None) -> None:
        """To one rank's process, or to all, with what they started."""
        for pid in self._pids if rank is None else self._pids[rank : rank + 1]:
            try:
                os.kill(pid, number)
            except ProcessLookupError:
                continue

    def kill(self) -> None:
        """All processes of the sessions that were started here."""
        for pid in self._pids:
            try:
                os.killpg(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue

    def seconds(self) -> float:
        """Since the last start."""
        return time.monotonic() - self._begun

    def _line(self, *, within_s: float) -> bytes:
        assert self._process.stdout is not None
        ready, _, _ = select.select([self._process.stdout], [], [], within_s)
        return self._process.stdout.readline() if ready else b""
