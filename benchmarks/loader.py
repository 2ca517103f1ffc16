"""How many photos a second do two views of a shard folder, of either format, reach, by number of worker processes?

    python benchmarks/loader.py data/demo/train --workers 0 --workers 2 --json loader.json

Three modes, each with all of the one before: decode (read and decode photo and map), two views (and draw both views), whole loader (and
stack them and bring them to the main process, as training gets them). The start of the workers is left out. The folder is read again
and again: once it fits into memory, the disk is not measured.
"""

import multiprocessing
import time
from collections.abc import Iterator, Sequence
from functools import partial
from multiprocessing.context import BaseContext
from pathlib import Path
from typing import Annotated, Any

import torch
import typer
from harness import Measurement, measurement, publish, run
from torch.utils.data import Dataset

from mcdist.build import view_settings
from mcdist.config import Config, ViewsConfig
from mcdist.data.loader import BatchLoader, MicroBatches, PhotoViews, make_loader
from mcdist.data.open_shards import open_shards
from mcdist.data.order import Request
from mcdist.data.reader import SampleReader
from mcdist.data.sample import decode_sample
from mcdist.data.views import ViewSettings
from mcdist.errors import McdistError

MODES = ("decode", "two views", "whole loader")
BLOCK = 64


class PhotosDone(Dataset[int]):
    """Does a micro-batch's work in the worker and gives back only how many photos it was, so that nothing is sent."""

    def __init__(self, folder: SampleReader, *, views: ViewSettings | None) -> None:
        self.photos = None if views is None else PhotoViews(folder, views=views, seed=0)
        self.folder = folder

    def __len__(self) -> int:
        return len(self.folder)

    def __getitems__(self, requests: Sequence[Request]) -> int | McdistError:
        """As `PhotoViews`: an error travels as a value."""
        try:
            for request in requests:
                if self.photos is None:
                    decode_sample(self.folder.read(request.index))
                else:
                    self.photos[request]
        except McdistError as error:
            return error
        return len(requests)


def _same(value: Any) -> Any:
    return value


def _one_core(worker: int) -> None:
    torch.set_num_threads(1)


def _worker_context() -> BaseContext:
    """As the training loader's: the server imports torch once for all workers."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["torch", "torchvision.transforms.v2", "mcdist.data.loader"])
    return context


def batches_of(mode: str, folder: SampleReader, *, views: ViewSettings, batch: int, num_steps: int, num_workers: int, prefetch: int) -> Iterator[Any]:
    """`num_steps` micro-batches of `mode`, in the order in which training reads them."""
    order = {"seed": 0, "global_batch": batch, "accumulation_steps": 1, "rank": 0, "num_ranks": 1, "block": BLOCK, "num_lanes": 1, "consumed": 0}
    if mode == "whole loader":
        loader = make_loader(folder, views=views, num_steps=num_steps, num_workers=num_workers, prefetch=prefetch, pin_memory=False, **order)
        return iter(loader)
    work = PhotosDone(folder, views=views if mode == "two views" else None)
    context = _worker_context() if num_workers else None
    requests = MicroBatches(num_samples=len(folder), num_steps=num_steps, **order)
    return iter(
        BatchLoader(
            work,
            batch_sampler=requests,
            collate_fn=_same,
            num_workers=num_workers,
            prefetch_factor=prefetch if num_workers else None,
            worker_init_fn=_one_core,
            multiprocessing_context=context,
        )
    )


def photos_per_s(batches: Iterator[Any], *, batch: int, num_warmups: int, num_runs: int, batches_per_run: int) -> list[float]:
    """The rate of each of `num_runs` stretches, after `num_warmups` micro-batches that start and fill the workers."""
    for _ in range(num_warmups):
        next(batches)
    rates = []
    for _ in range(num_runs):
        began_s = time.perf_counter()
        for _ in range(batches_per_run):
            next(batches)
        rates.append(batch * batches_per_run / (time.perf_counter() - began_s))
    return rates


def measure(
    folder: SampleReader, *, views: ViewSettings, batch: int, num_workers: int, prefetch: int, num_runs: int, batches_per_run: int
) -> list[Measurement]:
    """The rate of each mode. Workers deliver in turn, so a stretch is a whole number of turns."""
    turns = max(1, num_workers)
    stretch = -(-batches_per_run // turns) * turns
    num_warmups = 1 + num_workers * prefetch
    shape = f"{num_workers} workers, batch {batch}, two views of {views.size_px} px, {folder.manifest.source} shards"
    provider = " ".join(filter(None, (folder.manifest.format, str(folder.manifest.options.get("ffcv_photo", "")))))
    row = partial(measurement, benchmark="loader", provider=provider, shape=shape, metric="photos", unit="1/s", device=torch.device("cpu"))
    rows = []
    for mode in MODES:
        num_steps = num_warmups + num_runs * stretch
        batches = batches_of(mode, folder, views=views, batch=batch, num_steps=num_steps, num_workers=num_workers, prefetch=prefetch)
        rows.append(row(photos_per_s(batches, batch=batch, num_warmups=num_warmups, num_runs=num_runs, batches_per_run=stretch), mode=mode))
    return rows


def main(
    folder: Annotated[Path, typer.Argument(help="A shard folder, such as data/demo/train.", show_default=False)],
    workers: Annotated[list[int] | None, typer.Option(min=0, help="Worker processes; give it again for more rows. 0: the main process.")] = None,
    batch: Annotated[int, typer.Option(min=1, help="Photos a micro-batch.")] = 16,
    size_px: Annotated[int, typer.Option(min=8, help="Height and width of a view.")] = 224,
    prefetch: Annotated[int, typer.Option(min=1, help="Micro-batches each worker keeps ready.")] = 2,
    num_runs: Annotated[int, typer.Option(min=1, help="Timed stretches.")] = 5,
    batches_per_run: Annotated[int, typer.Option(min=1, help="Micro-batches a stretch, rounded up to a multiple of the workers.")] = 8,
    json: Annotated[Path | None, typer.Option(help="Write the rows to this file.")] = None,
) -> None:
    """Photos a second of reading, of drawing two views and of the whole loader; the views are those of the default configuration."""
    torch.set_num_threads(1)
    views = view_settings(Config(views=ViewsConfig(size_px=size_px)))
    shards = open_shards(folder)
    rows = []
    for num_workers in workers or [0, 1, 2]:
        rows += measure(shards, views=views, batch=batch, num_workers=num_workers, prefetch=prefetch, num_runs=num_runs, batches_per_run=batches_per_run)
    publish(rows, json_path=json)


if __name__ == "__main__":
    run(main)
