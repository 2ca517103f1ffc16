"""Loader: micro-batches of views in the run's order, made in worker processes; and photos with ground truth for the evaluation.

Workers start by forkserver: forking a process that already runs threads (gloo, CUDA, a logger) can copy a held lock and hang for
ever, and CUDA does not survive a fork. The server imports torch once (4 s on two slow cores, started early so that it overlaps with
building the model), each worker is a cheap copy of it (0.2 s).
"""

import multiprocessing
import multiprocessing.forkserver
import signal
from collections.abc import Generator, Iterator, Sequence
from multiprocessing.context import BaseContext
from typing import Any

import torch
from torch.utils.data import DataLoader, Dataset

from mcdist.data.batch import Batch, collate
from mcdist.data.draw import ViewSettings
from mcdist.data.order import Request, check_division, micro_batches
from mcdist.data.reader import SampleReader
from mcdist.data.sample import Sample, decode_sample
from mcdist.data.views import TwoViews, two_views_of_file
from mcdist.errors import MachineError, McdistError


class PhotoViews(Dataset[TwoViews]):
    """The two views of any requested sample of a shard folder. Never reads ground truth."""

    def __init__(self, folder: SampleReader, *, views: ViewSettings, seed: int, decode: str = "exact") -> None:
        self.folder = folder
        self.views = views
        self.seed = seed
        self.decode = decode

    def __len__(self) -> int:
        return len(self.folder)

    def __getitem__(self, request: Request) -> TwoViews:
        """Read, decode and draw. Raises ShardError where the sample is damaged."""
        raw = self.folder.read(request.index)
        return two_views_of_file(raw, seed=self.seed, epoch=request.epoch, index=request.index, settings=self.views, decode=self.decode)

    def __getitems__(self, requests: Sequence[Request]) -> list[TwoViews] | McdistError:
        """A micro-batch, or the error as a value: raised in a worker, torch would bury its one sentence in a stack trace."""
        try:
            return [self[request] for request in requests]
        except McdistError as error:
            return error


class MicroBatches:
    """`micro_batches` with a length, as DataLoader wants it; can be gone through again."""

    def __init__(self, **arguments: int) -> None:
        self.arguments = arguments

    def __len__(self) -> int:
        return self.arguments["num_steps"] * self.arguments["accumulation_steps"]

    def __iter__(self) -> Iterator[list[Request]]:
        return micro_batches(**self.arguments)


class BatchLoader(DataLoader[Any]):
    """A DataLoader of Batches whose errors reach the main process as the same one sentence."""

    def __iter__(self) -> Generator[Batch, None, None]:  # type: ignore[override]
        """Workers start here, before the first batch is asked for."""
        return _raising(super().__iter__())


def _raising(batches: Iterator[Batch | McdistError]) -> Generator[Batch, None, None]:
    """Closing this iterator, or its first error, ends the workers."""
    failure = None
    try:
        for batch in batches:
            if isinstance(batch, McdistError):
                failure = batch
                break
            yield batch
    except RuntimeError as error:
        if not str(error).startswith("DataLoader worker"):
            raise
        reason = str(error).split("\n")[0]
        raise MachineError(f"a data worker process died ({reason}); the usual cause is too little memory: lower data.num_workers or data.prefetch") from error
    if failure is not None:
        del batches  # else the stack trace keeps the workers, and ending them from a later garbage collection stalls for seconds
        raise failure


def make_loader(
    folder: SampleReader,
    *,
    views: ViewSettings,
    seed: int,
    global_batch: int,
    accumulation_steps: int,
    rank: int,
    num_ranks: int,
    block: int,
    num_lanes: int,
    consumed: int,
    num_steps: int,
    num_workers: int,
    prefetch: int,
    pin_memory: bool,
    decode: str = "exact",
) -> BatchLoader:
    """This rank's micro-batches, `accumulation_steps` a step, from run position `consumed` on; one pass is the rest of the run.

    Neither `num_workers` nor `num_ranks` changes what is seen of a sample. Iterating raises the ShardError a worker met, or
    MachineError where a worker died.

    Raises:
        ConfigError: ranks, lanes and micro-batches do not come out even.
    """
    check_division(global_batch=global_batch, accumulation_steps=accumulation_steps, num_lanes=num_lanes, num_ranks=num_ranks)
    requests = MicroBatches(
        seed=seed,
        num_samples=len(folder),
        block=block,
        num_lanes=num_lanes,
        global_batch=global_batch,
        accumulation_steps=accumulation_steps,
        rank=rank,
        num_ranks=num_ranks,
        consumed=consumed,
        num_steps=num_steps,
    )
    return BatchLoader(
        PhotoViews(folder, views=views, seed=seed, decode=decode),
        batch_sampler=requests,
        collate_fn=_collate,
        num_workers=num_workers,
        prefetch_factor=prefetch if num_workers else None,
        pin_memory=pin_memory,
        worker_init_fn=_start_worker,
        multiprocessing_context=_worker_context() if num_workers else None,
        generator=torch.Generator(),  # else every pass would draw from the run's own random numbers
    )


def _collate(samples: list[TwoViews] | McdistError) -> Batch | McdistError:
    return samples if isinstance(samples, McdistError) else collate(samples)


def _worker_context() -> BaseContext:
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["torch", "mcdist.data.loader"])
    multiprocessing.forkserver.ensure_running()
    return context


def _start_worker(worker: int) -> None:
    """One core a worker. Ctrl-C and the cluster's notices are the main process's to answer: workers end when it does."""
    torch.set_num_threads(1)
    for notice in (signal.SIGINT, signal.SIGUSR1, signal.SIGUSR2):
        signal.signal(notice, signal.SIG_IGN)


def evaluation_samples(folder: SampleReader, *, limit: int = 0) -> Iterator[Sample]:
    """Decoded samples with ground truth, in index order; only the first `limit` where it is not 0.

    Raises:
        ShardError: a damaged sample, or one without ground truth.
    """
    for index in range(min(limit, len(folder)) if limit else len(folder)):
        yield decode_sample(folder.read(index, with_segments=True), with_segments=True)
