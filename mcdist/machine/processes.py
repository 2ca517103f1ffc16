"""Processes: what all pools of worker processes share. Workers end with whoever started them, and a worker that dies is told in one sentence. No torch."""

import multiprocessing
import os
import threading
from collections.abc import Generator, Iterator, Mapping
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from multiprocessing.process import BaseProcess
from typing import TypeVar

from mcdist.errors import MachineError

Item = TypeVar("Item")
Result = TypeVar("Result")


def end_with_parent() -> None:
    """For a worker: leave when the process that started it ends. One whose parent was killed outright would else wait for its next task for ever."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        threading.Thread(target=_end_with, args=(parent,), name="parent", daemon=True).start()


@contextmanager
def dead_workers_explained(*, finished: str) -> Iterator[None]:
    """A worker that dies inside becomes a MachineError; `finished`: what a further run need not do again."""
    try:
        yield
    except BrokenProcessPool as error:
        raise MachineError(
            f"a worker process ended suddenly, most likely for want of memory; run the same command again with fewer --workers: finished {finished} are kept"
        ) from error


def results_of(pool: ProcessPoolExecutor, futures: Mapping[Future[Result], Item], *, finished: str) -> Generator[tuple[Item, Result]]:
    """(what was asked for, its result) as they come. When this is closed, or ends with an error, tasks that have not begun are dropped.

    Raises:
        MachineError: a worker died.
    """
    with dead_workers_explained(finished=finished):
        try:
            for future in as_completed(futures):
                yield futures[future], future.result()
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


def _end_with(parent: BaseProcess) -> None:
    parent.join()
    os._exit(1)
