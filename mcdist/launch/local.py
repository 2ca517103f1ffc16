"""Local: the same job as local processes, where there is no SLURM. Each node is a process group; a rank that asks to go on is started again, as SLURM would.

The processes are `mcdist.launch.job` as in a batch script, with SLURM's variables set here, so that what runs is what would run on a cluster. submitit's local
executor is not used: it knows one node only, ends a job after a time limit, and pickles.
"""

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from types import FrameType

from mcdist.errors import REQUEUE
from mcdist.launch.cluster import Cluster
from mcdist.launch.spec import read_spec

NOTICES = (signal.SIGUSR1, signal.SIGUSR2)


def run_locally(folder: Path, *, cluster: Cluster) -> int:
    """Run the submission in `folder` to its end: all its elements, one after another. Returns the first exit code that is not 0."""
    with _Signals() as signals:
        codes = [_run_element(folder, cluster=cluster, element=element, signals=signals) for element in range(len(read_spec(folder).works))]
    return next((code for code in codes if code), 0)


def _run_element(folder: Path, *, cluster: Cluster, element: int, signals: "_Signals") -> int:
    restarts = 0
    while True:
        outside = {name: value for name, value in os.environ.items() if not name.startswith("SLURM")}
        environment = {
            **outside,
            "PYTHONPATH": os.pathsep.join([str(folder / "code"), *filter(None, [os.environ.get("PYTHONPATH")])]),
            "PYTHONSAFEPATH": "1",
            "MCDIST_LOCAL": "1",
            "SLURM_JOB_ID": str(os.getpid()),
            "SLURM_ARRAY_TASK_ID": str(element),
            "SLURM_RESTART_COUNT": str(restarts),
        }
        code = _run_once(folder, cluster=cluster, environment=environment, signals=signals)
        if signals.came in NOTICES:  # answered: the ranks saved
            signals.came = 0
        if code != REQUEUE or signals.came:
            return code
        restarts += 1


def _run_once(folder: Path, *, cluster: Cluster, environment: dict[str, str], signals: "_Signals") -> int:
    job = [sys.executable, "-m", "mcdist.launch.job"]
    prepared = subprocess.run([*job, "prepare", str(folder)], env=environment, check=False).returncode
    if prepared or signals.came:
        return prepared or 128 + signals.came
    num_ranks, num_local = cluster.num_ranks, cluster.num_tasks_per_node
    meeting = {"WORLD_SIZE": str(num_ranks), "LOCAL_WORLD_SIZE": str(num_local), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(_free_port())}
    tasks: list[subprocess.Popen[bytes]] = []
    leaders: dict[int, int] = {}
    for rank in range(num_ranks):
        node, local = divmod(rank, num_local)
        place = {"SLURM_PROCID": str(rank), "SLURMD_NODENAME": f"node{node}"}
        if num_ranks > 1:
            place |= {**meeting, "RANK": str(rank), "LOCAL_RANK": str(local)}
        process = subprocess.Popen([*job, "task", str(folder)], env={**environment, **place}, process_group=leaders.get(node, 0))
        leaders.setdefault(node, process.pid)
        tasks.append(process)
    code = _wait(tasks, signals=signals)
    return subprocess.run([*job, "settle", str(folder), str(code)], env=environment, check=False).returncode


def _wait(tasks: list[subprocess.Popen[bytes]], *, signals: "_Signals") -> int:
    """As srun with --kill-on-bad-exit: the first task to end badly ends the others. Returns the highest exit code."""
    told = 0
    ending_since_s = None
    while any(task.poll() is None for task in tasks):
        if signals.came and signals.came != told:
            told = signals.came
            _tell(tasks, told)
        if ending_since_s is None and any(task.returncode for task in tasks):
            ending_since_s = time.monotonic()
            _tell(tasks, signal.SIGTERM)
        if ending_since_s is not None and time.monotonic() - ending_since_s > 30:
            _tell(tasks, signal.SIGKILL)
        time.sleep(0.05)
    return max(128 - task.returncode if task.returncode < 0 else task.returncode for task in tasks)


def _tell(tasks: list[subprocess.Popen[bytes]], number: int) -> None:
    for task in tasks:
        if task.poll() is None:
            task.send_signal(number)


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


class _Signals:
    """Ctrl-C, SIGTERM and the cluster's notices are passed on to the tasks, which save and leave."""

    NUMBERS = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1, signal.SIGUSR2)

    def __init__(self) -> None:
        self.came = 0
        self._before: dict[int, object] = {}

    def __enter__(self) -> "_Signals":
        for number in self.NUMBERS:
            self._before[number] = signal.signal(number, self._note)
        return self

    def __exit__(self, *exception: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)  # type: ignore[arg-type]

    def _note(self, number: int, frame: FrameType | None) -> None:
        self.came = number
