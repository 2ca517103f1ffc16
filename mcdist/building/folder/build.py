"""A shard folder from a source: plan the shards, build them in parallel, write the manifest last.

Every shard is its own job, so a build that was stopped keeps what it finished, and the number of workers changes the time but no byte.
"""

import multiprocessing
import os
import time
from collections import Counter
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch

from mcdist.building.folder.job import ShardDone, ShardJob, finished_shard, run_shard_job, shard_jobs
from mcdist.building.folder.out import alone_in, make_folder, open_folder, remove_ours
from mcdist.building.folder.split import without_items
from mcdist.building.source import MAX_SKIPPED_SHARE, Option, Source, digest_of
from mcdist.building.writers.pack import Packing
from mcdist.data.shards.index import index_name
from mcdist.data.shards.manifest import MANIFEST_NAME, Manifest, write_manifest
from mcdist.errors import DataError
from mcdist.machine.allocator import keep_freed_memory
from mcdist.machine.processes import end_with_parent, results_of

Tick = Callable[[int], None]
"""Called with the number of items a finished shard was planned for."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What a folder is to hold. `skipped`: photos that were left out before; `strict`: a folder that lacks some is not what was asked for."""

    source: Source
    jobs: list[ShardJob]
    options: dict[str, Option]
    format: str
    skipped: tuple[tuple[str, str], ...] = ()
    strict: bool = False
    max_skipped_share: float = 1.0

    @property
    def num_photos(self) -> int:
        """Photos to be made, and those left out before."""
        return sum(len(job.items) for job in self.jobs) + len(self.skipped)


@dataclass(frozen=True, slots=True)
class Built:
    """What a build did. `already`: the folder was complete before; `num_kept`: shards an earlier, stopped run had finished."""

    folder: Path
    manifest: Manifest
    notes: dict[str, int]
    num_kept: int
    already: bool
    wall_s: float
    num_made: int = 0
    """Photos that this very run read, for its photos/s."""


def build_shards(
    source: Source,
    *,
    folder: Path,
    shard_size: int = 256,
    packing: Packing | None = None,
    num_workers: int = 1,
    strict: bool = False,
    max_skipped_share: float = MAX_SKIPPED_SHARE,
    overwrite: bool = False,
    tick: Tick = lambda _: None,
) -> Built:
    """Build `folder` from `source`: tars, or FFCV files with `packing`, then `manifest.json`. Byte-identical for the same source, options and files.

    Raises:
        ConfigError: the folder holds other shards and `overwrite` is off.
        DataError: there is no photo, none could be used, more than `max_skipped_share` of them could not, or (with `strict`) the first that could not.
        HeldError: another build is writing to the folder.
        MachineError: no space, no permission, or a worker died; finished shards stay for the next run.
    """
    plan = plan_of(source, folder=folder, shard_size=shard_size, packing=packing, strict=strict, max_skipped_share=max_skipped_share)
    return build_plan(plan, folder=folder, num_workers=num_workers, overwrite=overwrite, tick=tick)


def plan_of(source: Source, *, folder: Path, shard_size: int, packing: Packing | None, strict: bool, max_skipped_share: float) -> Plan:
    """The shards that `folder` shall hold. Raises the DataErrors of `build_shards` that can be known before."""
    if not source.items:
        raise DataError(f"expected photos in the {source.name} data set, found none; check its path and split")
    _check_planned(source, strict=strict, max_skipped_share=max_skipped_share)
    options = {**source.options, "shard_size": shard_size, "items": digest_of(source.items), **(packing.options if packing else {})}
    jobs = shard_jobs(source, folder=folder, shard_size=shard_size, strict=strict, packing=packing)
    shard_format = "webdataset" if packing is None else "ffcv"
    return Plan(source=source, jobs=jobs, options=options, format=shard_format, strict=strict, max_skipped_share=max_skipped_share)


def build_plan(plan: Plan, *, folder: Path, num_workers: int, overwrite: bool, tick: Tick) -> Built:
    """Carry out a plan: every shard that `folder` does not have yet, then the manifest. Raises as `build_shards`."""
    make_folder(folder)
    with alone_in(folder):
        return complete_plan(plan, folder=folder, num_workers=num_workers, overwrite=overwrite, tick=tick)


def complete_plan(plan: Plan, *, folder: Path, num_workers: int, overwrite: bool, tick: Tick) -> Built:
    """As `build_plan`, in a folder where parts of the same plan may be at work."""
    begin = time.monotonic()
    existing = open_folder(folder, source=plan.source.name, format=plan.format, options=plan.options, overwrite=overwrite)
    if existing is not None:
        if plan.strict and existing.skipped:
            photo, reason = existing.skipped[0]
            raise DataError(f"{folder} is complete but without {len(existing.skipped)} photos, --strict needs all; the first, {photo}: {reason}")
        check_skipped(list(existing.skipped), num_photos=plan.num_photos, share=plan.max_skipped_share)
        return Built(folder=folder, manifest=existing, notes={}, num_kept=0, already=True, wall_s=time.monotonic() - begin)
    done = run_jobs(plan, num_workers=num_workers, tick=tick)
    manifest = _manifest_of(done, plan=plan)
    write_manifest(manifest, folder=folder)
    names = [shard.name for shard in manifest.shards]
    remove_ours(folder, keep=frozenset({MANIFEST_NAME, *names, *(index_name(name) for name in names)}))
    notes: Counter[str] = Counter()
    for shard in done:
        notes.update(shard.notes)
    num_kept = sum(shard.kept for shard in done)
    num_made = sum(len(job.items) for job, shard in zip(plan.jobs, done, strict=True) if not shard.kept)
    return Built(folder=folder, manifest=manifest, notes=dict(notes), num_kept=num_kept, already=False, wall_s=time.monotonic() - begin, num_made=num_made)


def _check_planned(source: Source, *, strict: bool, max_skipped_share: float) -> None:
    """What planning found wrong is said before anything is built, or replaced."""
    problems = [(item.photo, item.problem) for item in source.items if item.problem]
    if strict and problems:
        raise DataError(problems[0][1])
    check_skipped(problems, num_photos=len(source.items), share=max_skipped_share)


def check_skipped(skipped: list[tuple[str, str]], *, num_photos: int, share: float) -> None:
    """Raises DataError where more than `share` of the photos was skipped: then it is the data set that is wrong, or the command, not a photo."""
    if len(skipped) > share * num_photos:
        photo, reason = skipped[0]
        raise DataError(
            f"{len(skipped)} of {num_photos} photos cannot take part, more than --max-skipped-share {share:g} allows; the first, {photo}: {reason} "
            "(mend them, or raise the share and run the same command again: finished shards are kept)"
        )


def run_jobs(plan: Plan, *, num_workers: int, tick: Tick) -> list[ShardDone]:
    """Every job's outcome in order: kept from an earlier run, or built now. Stops as soon as too many photos are skipped."""
    done: dict[Path, ShardDone] = {}
    for job in plan.jobs:
        kept = finished_shard(job)
        if kept is not None:
            done[job.path] = kept
            tick(len(job.items))
    left = [job for job in plan.jobs if job.path not in done]
    skipped = [pair for outcome in done.values() for pair in outcome.skipped]
    check_skipped(skipped, num_photos=plan.num_photos, share=plan.max_skipped_share)
    with closing(_outcomes(left, source=without_items(plan.source), num_workers=min(num_workers, len(left)))) as outcomes:
        for job, outcome in outcomes:
            done[job.path] = outcome
            tick(len(job.items))
            skipped.extend(outcome.skipped)
            check_skipped(skipped, num_photos=plan.num_photos, share=plan.max_skipped_share)
    return [done[job.path] for job in plan.jobs]


def _outcomes(jobs: list[ShardJob], *, source: Source, num_workers: int) -> Generator[tuple[ShardJob, ShardDone]]:
    if num_workers <= 1:
        for job in jobs:
            yield job, run_shard_job(job, source)
        return
    with _pool(num_workers) as pool:
        yield from results_of(pool, {pool.submit(run_shard_job, job, source): job for job in jobs}, finished="shards")


@contextmanager
def _pool(num_workers: int) -> Iterator[ProcessPoolExecutor]:
    """Workers forked from a clean server that has imported torch once: quick to start, and no thread of ours is copied half-way."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([__name__])
    with ProcessPoolExecutor(max_workers=num_workers, mp_context=context, initializer=_begin_worker) as pool:
        yield pool


def _begin_worker() -> None:
    """One thread a worker: the workers are the parallelism."""
    keep_freed_memory()
    torch.set_num_threads(1)
    os.environ["OMP_NUM_THREADS"] = "1"
    end_with_parent()


def _manifest_of(done: list[ShardDone], *, plan: Plan) -> Manifest:
    shards = tuple(shard.entry for shard in done if shard.entry is not None)
    skipped = plan.skipped + tuple(pair for shard in done for pair in shard.skipped)
    if not shards:
        raise DataError(f"none of the {len(skipped)} photos could be used; the first, {skipped[0][0]}: {skipped[0][1]}")
    return Manifest(source=plan.source.name, shards=shards, format=plan.format, options=plan.options, skipped=skipped)
