"""Runs a program as several ranks of this machine, each bound to one core, and gives back what each printed last, as JSON."""

import json
import os
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks.harness.measurement import ROOT
from mcdist.errors import McdistError


def usable_cores() -> list[int]:
    """Cores that this process may run on; on systems that do not say, all."""
    return sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else list(range(os.cpu_count() or 1))


def bind_to_core(rank: int) -> None:
    """Rank r gets core r, and shares it where there are fewer cores."""
    cores = usable_cores()
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {cores[rank % len(cores)]})


def on_ranks(module: str, *arguments: str, num_ranks: int, timeout_s: float = 240) -> list[dict[str, Any]]:
    """The last line that each rank of `python -m module` prints, read as JSON.

    Raises:
        McdistError: a rank failed or took too long; its last words are in the message, and all ranks are ended.
    """
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port = int(listener.getsockname()[1])
    with tempfile.TemporaryDirectory() as folder:
        said = [(Path(folder) / f"{rank}.out", Path(folder) / f"{rank}.err") for rank in range(num_ranks)]
        processes = [_start(module, arguments, rank=rank, num_ranks=num_ranks, port=port, said=said[rank]) for rank in range(num_ranks)]
        try:
            until_s = time.monotonic() + timeout_s
            while any(process.poll() is None for process in processes) and not any(process.poll() for process in processes):
                if time.monotonic() > until_s:
                    raise McdistError(f"{module} on {num_ranks} ranks did not end within {timeout_s:g} s: {_last_words(said)}")
                time.sleep(0.05)
        finally:
            for process in processes:
                if any(other.poll() for other in processes) or process.poll() is None:
                    process.kill()
                process.wait()
        if any(process.returncode for process in processes):
            raise McdistError(f"{module} failed on {num_ranks} ranks: {_last_words(said)}")
        return [json.loads(out.read_text().splitlines()[-1]) for out, _ in said]


def _start(module: str, arguments: tuple[str, ...], *, rank: int, num_ranks: int, port: int, said: tuple[Path, Path]) -> "subprocess.Popen[bytes]":
    place = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": num_ranks, "LOCAL_WORLD_SIZE": num_ranks, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
    environment = os.environ | {name: str(value) for name, value in place.items()} | {"OMP_NUM_THREADS": "1", "BENCHMARK_BEGAN": str(time.time())}
    environment["PYTHONPATH"] = os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
    with said[0].open("wb") as out, said[1].open("wb") as err:
        return subprocess.Popen([sys.executable, "-m", module, *arguments], env=environment, stdout=out, stderr=err, stdin=subprocess.DEVNULL)


def _last_words(said: list[tuple[Path, Path]]) -> str:
    return "; ".join(f"rank {rank}: {err.read_text().strip()[-600:]}" for rank, (_, err) in enumerate(said) if err.exists())
