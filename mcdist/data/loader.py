"""Loader: micro-batches of views in the run's order, made in worker processes; and photos with ground truth for the evaluation.

Workers start by forkserver: forking a process that already runs threads (gloo, CUDA, a logger) can copy a held lock and hang for
ever, and CUDA does not survive a fork. The server imports torch once (4 s on two slow cores, started early so that it overlaps with
building the model), each worker is a cheap copy of it (0.2 s).
"""

import multiprocessing
import multiprocessing.forkserver
import multiprocessing.resource_tracker
from collections.abc import Callable, Generator, Iterable, Iterator
from dataclasses import replace
from functools import partial
from multiprocessing.context import ForkServerContext
from typing import Any

import numpy
import torch
from torch.utils.data import DataLoader, Dataset

from mcdist.choices import BadSamples, Decode
from mcdist.data.batch import Batch, collate
from mcdist.data.files.ahead import FetchAhead
from mcdist.data.order import WINDOW_BLOCKS, Request, check_division, micro_batches
from mcdist.data.photo_views import MadeViews, PhotoViews, read_sound
from mcdist.data.readers.reader import SampleReader
from mcdist.data.shards.sample import Sample, decode_sample
from mcdist.data.views.draw import ViewSettings
from mcdist.errors import MachineError, McdistError
from mcdist.machine.allocator import keep_freed_memory
from mcdist.resilience import stop


class MicroBatches:
    """`micro_batches` with a length, as DataLoader needs it; can be iterated again."""

    def __init__(self, **arguments: int) -> None:
        self.arguments = arguments

    def __len__(self) -> int:
        return self.arguments["num_steps"] * self.arguments["accumulation_steps"]

    def __iter__(self) -> Iterator[list[Request]]:
        return micro_batches(**self.arguments)


class BatchLoader(DataLoader[Any]):
    """A DataLoader of Batches whose errors reach the main process as the same one sentence. `fetch_ahead` runs beside a pass, where there is one."""

    fetch_ahead: Callable[[], FetchAhead] | None = None

    def __iter__(self) -> Generator[Batch, None, None]:  # type: ignore[override]
        """Workers start here, before the first batch is asked for."""
        batches = _raising(super().__iter__())
        return batches if self.fetch_ahead is None else _fetching_ahead(batches, ahead=self.fetch_ahead())


def _fetching_ahead(batches: Generator[Batch, None, None], *, ahead: FetchAhead) -> Generator[Batch, None, None]:
    ahead.start()
    try:
        for batch in batches:
            ahead.advance()
            yield batch
    finally:
        batches.close()
        ahead.stop()


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
    reader: SampleReader,
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
    decode: Decode = "exact",
    bad_samples: BadSamples = "error",
    made_before: Dataset[Batch] | None = None,
) -> BatchLoader:
    """This rank's micro-batches, `accumulation_steps` a step, from run position `consumed` on; one pass is the rest of the run.

    Neither `num_workers` nor `num_ranks` changes how a sample is seen. Iterating raises the ShardError a worker met, unless
    `bad_samples` is "skip", or MachineError where a worker died. `made_before` returns whole Batches for the same requests, in place of `reader`.

    Raises:
        ConfigError: ranks, lanes and micro-batches do not divide evenly, or `decode` or `bad_samples` is not one of its choices.
    """
    check_division(global_batch=global_batch, accumulation_steps=accumulation_steps, num_lanes=num_lanes, num_ranks=num_ranks)
    requests = MicroBatches(
        seed=seed,
        num_samples=len(reader),
        block=block,
        num_lanes=num_lanes,
        global_batch=global_batch,
        accumulation_steps=accumulation_steps,
        rank=rank,
        num_ranks=num_ranks,
        consumed=consumed,
        num_steps=num_steps,
    )
    source = PhotoViews(reader, views=views, seed=seed, decode=decode, bad_samples=bad_samples) if made_before is None else made_before
    loader = load_requests(source, batches=requests, num_workers=num_workers, prefetch=prefetch, pin_memory=pin_memory)
    if reader.files.fetches and made_before is None:
        window = -(-WINDOW_BLOCKS * block * num_lanes // global_batch) * accumulation_steps
        loader.fetch_ahead = partial(_fetch_ahead, reader, requests=requests, ahead=window + prefetch * num_workers)
    return loader


def load_requests(source: Dataset[Any], *, batches: Iterable[list[Any]], num_workers: int, prefetch: int, pin_memory: bool = False) -> BatchLoader:
    """What `source` makes of each batch of requests, in their order, in `num_workers` processes, or in this one where there are none.

    Iterating raises the error that a worker met; closing the iterator ends the workers. `prefetch`: batches that each worker holds ready.
    """
    return BatchLoader(
        source,
        batch_sampler=batches,
        collate_fn=_collate,  # type: ignore[arg-type]  # of what __getitems__ returns, which need not be a list
        num_workers=num_workers,
        prefetch_factor=prefetch if num_workers else None,
        pin_memory=pin_memory,
        worker_init_fn=start_worker,
        multiprocessing_context=prepare_workers() if num_workers else None,
        generator=torch.Generator(),  # else every pass would draw from the run's own random numbers
    )


def _fetch_ahead(reader: SampleReader, *, requests: MicroBatches, ahead: int) -> FetchAhead:
    """The shards of the next window of every lane: what comes after it jumps to other blocks."""
    shards = reader.manifest.shards
    ends = numpy.cumsum([shard.num_samples for shard in shards])
    wanted = (dict.fromkeys(numpy.searchsorted(ends, [request.index for request in batch], side="right").tolist()) for batch in requests)
    return FetchAhead((list(places) for places in wanted), ahead=ahead, fetch=lambda place: reader.files.fetch_ahead(shards[place]))


def _collate(made: Any) -> Any:
    """Views become a Batch; a Batch, an error and anything else that a source returns stay as they are."""
    if not isinstance(made, MadeViews):
        return made
    return replace(collate(made.samples), num_bad=len(made.bad), bad=tuple(sample.to_json() for sample in made.bad))


def prepare_workers() -> ForkServerContext:
    """Start the server that workers are copied from. It imports beside whatever is done next, so training calls this first."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["torch", "mcdist.data.loader"])
    multiprocessing.resource_tracker.ensure_running()
    if stop.is_listening():
        stop.block()  # the tracker's start unblocks two of the signals that the server is to be deaf to
    multiprocessing.forkserver.ensure_running()
    return context


def start_worker(worker: int) -> None:
    """One core a worker, and freed memory is kept. Signals are the main process's to answer: workers end when it does."""
    keep_freed_memory()
    torch.set_num_threads(1)
    stop.serve_only_parent()


def read_sample(reader: SampleReader, index: int, *, with_segments: bool = False) -> Sample:
    """A decoded sample, with its ground truth where that is asked for.

    Raises:
        ShardError: a damaged sample, or one without ground truth.
    """
    return read_sound(reader, index, make=partial(decode_sample, with_segments=with_segments), with_segments=with_segments)
