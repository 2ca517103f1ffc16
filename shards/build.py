"""A shard folder from a source: plan the shards, build them in parallel, write the manifest last.

Every shard is its own job, so a build that was stopped keeps what it finished, and the number of workers changes the time but no byte.
"""

import multiprocessing
import os
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch

from mcdist.data.manifest import MANIFEST_NAME, Manifest, write_manifest
from mcdist.data.shard_index import index_name
from mcdist.errors import DataError, MachineError
from shards.out_folder import open_folder, remove_ours
from shards.pack_ffcv import Packing
from shards.shard_job import ShardDone, ShardJob, finished_shard, run_shard_job, shard_jobs
from shards.source import Option, Source, digest_of

Tick = Callable[[int], None]
"""Called with the number of items a finished shard was planned for."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What a folder shall hold. `skipped`: photos that were left out before; `strict`: a folder that lacks some is not what was asked for."""

    source: Source
    jobs: list[ShardJob]
    options: dict[str, Option]
    format: str
    skipped: tuple[tuple[str, str], ...] = ()
    strict: bool = False


@dataclass(frozen=True, slots=True)
class Built:
    """What a build did. `already`: the folder was complete before; `num_kept`: shards an earlier, stopped run had finished."""

    folder: Path
    manifest: Manifest
    notes: dict[str, int]
    num_kept: int
    already: bool
    wall_s: float


def build_shards(
    source: Source,
    *,
    folder: Path,
    shard_size: int = 256,
    packing: Packing | None = None,
    num_workers: int = 1,
    strict: bool = False,
    overwrite: bool = False,
    tick: Tick = lambda _: None,
) -> Built:
    """Build `folder` from `source`: tars, or FFCV files with `packing`, then `manifest.json`. Byte-identical for the same source, options and files.

    Raises:
        ConfigError: the folder holds other shards and `overwrite` is off.
        DataError: there is no photo, none could be used, or (with `strict`) the first that could not.
        MachineError: no space, no permission, or a worker died; finished shards stay for the next run.
    """
    if not source.items:
        raise DataError(f"expected photos in the {source.name} data set, found none; check its path and split")
    options = {**source.options, "shard_size": shard_size, "items": digest_of(source.items), **(packing.options if packing else {})}
    jobs = shard_jobs(source, folder=folder, shard_size=shard_size, strict=strict, packing=packing)
    plan = Plan(source=source, jobs=jobs, options=options, format="webdataset" if packing is None else "ffcv", strict=strict)
    return build_plan(plan, folder=folder, num_workers=num_workers, overwrite=overwrite, tick=tick)


def build_plan(plan: Plan, *, folder: Path, num_workers: int, overwrite: bool, tick: Tick) -> Built:
    """Carry out a plan: every shard that `folder` does not have yet, then the manifest. Raises as `build_shards`."""
    begin = time.monotonic()
    existing = open_folder(folder, source=plan.source.name, format=plan.format, options=plan.options, overwrite=overwrite)
    if existing is not None:
        if plan.strict and existing.skipped:
            photo, reason = existing.skipped[0]
            raise DataError(f"{folder} is complete but without {len(existing.skipped)} photos, --strict wants all; the first, {photo}: {reason}")
        return Built(folder=folder, manifest=existing, notes={}, num_kept=0, already=True, wall_s=time.monotonic() - begin)
    done = _run(plan.jobs, source=plan.source, num_workers=num_workers, tick=tick)
    manifest = _manifest_of(done, plan=plan)
    write_manifest(manifest, folder=folder)
    names = [shard.name for shard in manifest.shards]
    remove_ours(folder, keep=frozenset({MANIFEST_NAME, *names, *(index_name(name) for name in names)}))
    notes: Counter[str] = Counter()
    for shard in done:
        notes.update(shard.notes)
    num_kept = sum(shard.kept for shard in done)
    return Built(folder=folder, manifest=manifest, notes=dict(notes), num_kept=num_kept, already=False, wall_s=time.monotonic() - begin)


def _run(jobs: list[ShardJob], *, source: Source, num_workers: int, tick: Tick) -> list[ShardDone]:
    """Every job's outcome in order: kept from an earlier run, or built now."""
    done: dict[Path, ShardDone] = {}
    for job in jobs:
        kept = finished_shard(job)
        if kept is not None:
            done[job.path] = kept
            tick(len(job.items))
    left = [job for job in jobs if job.path not in done]
    for job, outcome in _outcomes(left, source=source, num_workers=min(num_workers, len(left))):
        done[job.path] = outcome
        tick(len(job.items))
    return [done[job.path] for job in jobs]


def _outcomes(jobs: list[ShardJob], *, source: Source, num_workers: int) -> Iterator[tuple[ShardJob, ShardDone]]:
    if num_workers <= 1:
        for job in jobs:
            yield job, run_shard_job(job, source)
        return
    with _pool(num_workers) as pool:
        futures = {pool.submit(run_shard_job, job, source): job for job in jobs}
        try:
            for future in as_completed(futures):
                yield futures[future], future.result()
        except BrokenProcessPool as error:
            raise MachineError(
                "a worker process ended suddenly, most likely for want of memory; run the same command again with fewer --workers: finished shards are kept"
            ) from error
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


@contextmanager
def _pool(num_workers: int) -> Iterator[ProcessPoolExecutor]:
    """Workers forked from a clean server that has imported torch once: quick to start, and no thread of ours is copied half-way."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([__name__])
    with ProcessPoolExecutor(max_workers=num_workers, mp_context=context, initializer=_begin_worker) as pool:
        yield pool


def _begin_worker() -> None:
    """One thread a worker: the workers are the parallelism."""
    torch.set_num_threads(1)
    os.environ["OMP_NUM_THREADS"] = "1"


def _manifest_of(done: list[ShardDone], *, plan: Plan) -> Manifest:
    shards = tuple(shard.entry for shard in done if shard.entry is not None)
    skipped = plan.skipped + tuple(pair for shard in done for pair in shard.skipped)
    if not shards:
        raise DataError(f"none of the {len(skipped)} photos could be used; the first, {skipped[0][0]}: {skipped[0][1]}")
    return Manifest(source=plan.source.name, shards=shards, format=plan.format, options=plan.options, skipped=skipped)
