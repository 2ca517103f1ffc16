"""Several ranks as real processes on this machine, for tests: copies of one server, so that torch is imported once. Nothing outlives a call."""

import importlib.util
import multiprocessing
import os
import socket
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

TIMEOUT_S = 420.0


def on_ranks(num_ranks: int, work: Callable[..., None], *arguments: Any, notes: Path) -> None:
    """work(rank, *arguments) in `num_ranks` processes that can join a world. An error of any rank is raised here with its stack trace.

    `notes`: a folder where a rank that fails writes down why.
    """
    context = _server()
    port = free_port()
    processes = [context.Process(target=_in_environment, args=(rank, num_ranks, port, notes, work, arguments)) for rank in range(num_ranks)]
    for process in processes:
        process.start()
    try:
        until = time.monotonic() + TIMEOUT_S
        while any(process.is_alive() for process in processes) and not any(process.exitcode for process in processes):
            assert time.monotonic() < until, f"ranks still run after {TIMEOUT_S:g} s: {[p.exitcode for p in processes]}"
            processes[0].join(0.05) if processes[0].is_alive() else time.sleep(0.05)
    finally:
        for process in processes:
            process.kill()
            process.join()
    failed = [f"rank {rank} ended with {process.exitcode}" for rank, process in enumerate(processes) if process.exitcode]
    assert not failed, "\n".join([*failed, *(note.read_text() for note in sorted(notes.glob("rank_*.failed")))])


def exit_code_of(work: Callable[..., None], *arguments: Any) -> int:
    """work(*arguments) in a process on its own, a copy of the same server; negative where a signal ended it."""
    process = _server().Process(target=work, args=arguments)
    process.start()
    try:
        process.join(TIMEOUT_S)
        assert process.exitcode is not None, f"it still runs after {TIMEOUT_S:g} s"
        return process.exitcode
    finally:
        process.kill()
        process.join()


def _server() -> multiprocessing.context.ForkServerContext:
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["torch", "mcdist.run"])
    return context


def skip_without_deepspeed() -> None:
    """Looks without importing: DeepSpeed keeps a device and starts to talk in the process that imports it."""
    if importlib.util.find_spec("deepspeed") is None:
        pytest.skip("deepspeed is not installed: pip install 'mcdist[deepspeed]'")


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def _in_environment(rank: int, num_ranks: int, port: int, notes: Path, work: Callable[..., None], arguments: tuple[Any, ...]) -> None:
    import torch

    torch.set_num_threads(1)
    place = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": num_ranks, "LOCAL_WORLD_SIZE": num_ranks, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
    os.environ.update({name: str(value) for name, value in place.items()})
    try:
        work(rank, *arguments)
    except BaseException:
        (notes / f"rank_{rank}.failed").write_text(f"rank {rank}:\n{traceback.format_exc()}")
        raise
