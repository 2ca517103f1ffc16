"""The story of a profile: a training is prepared as it would be trained, takes some steps, and nothing of them is kept but their times."""

import os
from collections.abc import Iterator
from contextlib import ExitStack, closing, nullcontext
from dataclasses import replace
from functools import partial
from pathlib import Path

import torch

from mcdist import build
from mcdist.config import Config
from mcdist.config.science import check_same_science
from mcdist.data.batch import Batch
from mcdist.data.readers.content import content_of
from mcdist.distributed import World
from mcdist.machine.allocator import find_allocator
from mcdist.machine.environment import describe_environment
from mcdist.machine.matrix_rate import matrix_gflops
from mcdist.passes.caching import cache_views
from mcdist.passes.preparation import prepare_groups
from mcdist.ranks.agree import lost_ranks_explained, run_on_first
from mcdist.ranks.join import leave_world
from mcdist.records.step_profile import REST, StepPart, StepProfile
from mcdist.report.console import Console
from mcdist.resilience.claim import claim_run
from mcdist.run_dir import RunDir
from mcdist.train.engines.engine import DTYPES
from mcdist.train.loop import Progress, train
from mcdist.train.memory import page_faults, peak_resident_gib
from mcdist.train.parts import watched_batches, watched_parts, watched_terms
from mcdist.train.state import TrainState

NUM_WARMUPS = 3
"""Steps before the first that counts: kernels are chosen and memory is taken in the first ones."""


def profile_training(config: Config, *, num_steps: int) -> StepProfile | None:
    """Where the time of a step of `config` goes. Groups and cached views are made first where there are none, as training would, and stay for it.

    Weights move while it runs and are then forgotten: no checkpoint is read or written. Under several ranks the first one's times; None on the others.

    Raises:
        ConfigError, DataError, CheckpointError, MachineError: as training.
        HeldError: another start holds the run folder.
    """
    world = build.build_world(config)
    try:
        with lost_ranks_explained(world=world):
            return _profile(config, world=world, num_steps=num_steps)
    finally:
        leave_world()


def _profile(config: Config, *, world: World, num_steps: int) -> StepProfile | None:
    build.prepare_process(config, world=world)
    build.prepare_workers(config)
    reader = build.open_reader(config.data.train, key="data.train", data=config.data)
    run_dir = RunDir(Path(config.run.dir))
    check_same_science(config, run_dir)
    state = build.build_state(config, world=world)
    run_dir.create()
    with ExitStack() as stack:
        console = stack.enter_context(Console(mode=config.report.console if world.is_first else "off", total_steps=1, samples_per_step=1))
        claim = run_on_first(lambda: claim_run(run_dir.root, attempts=run_dir.attempts, lease_s=config.run.lease_s, say=console.say), world=world)
        stack.enter_context(claim or nullcontext())
        (attempt_folder,) = world.gather_texts([] if claim is None else [str(claim.folder)])
        content = run_on_first(lambda: content_of(reader), world=world)
        if config.groups.num_groups:
            groups = prepare_groups(config, reader, run_dir, world=world, console=console, claim=claim, attempt_folder=Path(attempt_folder))
            assert groups is not None  # nobody asked it to stop
            (samples,) = world.gather_texts([] if content is None else [content.digest])
            state.table = build.read_groups(groups, config, samples=samples, num_samples=len(reader)).to(world.device)
        cached = cache_views(config, reader, state=state, run_dir=run_dir, content=content, should_stop=lambda: False, console=console)
        num_taken = NUM_WARMUPS + 2 * num_steps + 1
        loader = build.build_batches(config, reader, world=world, consumed=0, num_steps=num_taken, cached=cached)
        batches = stack.enter_context(closing(iter(loader)))
        console.say(f"profiling {num_taken} steps of {config.optim.global_batch} photos on {world.device}; nothing of them is kept")
        profile = measure(config, state, batches, num_steps=num_steps)
    return profile if world.is_first else None


def measure(config: Config, state: TrainState, batches: Iterator[Batch], *, num_steps: int) -> StepProfile:
    """Times of `num_steps` whole steps, then of the parts of as many others, then the arithmetic of one more."""
    world = state.world
    with watched_parts(state) as watch:
        settings = replace(build.loop_settings(config, num_samples=10**9, num_ranks=world.num_ranks), num_steps=10**9)
        steps: Iterator[Progress] = train(
            state,
            watched_batches(batches, watch=watch),
            settings=settings,
            step=watched_terms(build.step_settings(config), watch=watch),
            should_stop=lambda: False,
            on_bad_samples=lambda step, lines: None,
        )
        take_step = partial(next, steps)
        for _ in range(NUM_WARMUPS):
            take_step()
        faults_before = page_faults()
        step_ms = [watch.time_whole(take_step) for _ in range(num_steps)]
        faults = (page_faults() - faults_before) / num_steps
        timed = [watch.time_parts(take_step) for _ in range(num_steps)]
        gflop = watch.count_flop(take_step)
    return StepProfile(
        run=config.run.dir,
        machine=_machine(world, config=config),
        allocator=_allocator(),
        device=world.device.type,
        precision=config.optim.precision,
        model=f"{config.model.backbone}, decoder {config.model.decoder}",
        ops=config.ops.implementation,
        photos_per_step=config.optim.global_batch,
        view_px=config.views.size_px,
        num_threads=torch.get_num_threads(),
        num_workers=config.data.num_workers,
        num_ranks=world.num_ranks,
        load_average=os.getloadavg()[0],
        step_ms=tuple(step_ms),
        parts=parts_of(timed, gflop=gflop),
        matrix_gflops=matrix_gflops(world.device, dtype=DTYPES[config.optim.precision]),
        peak_resident_gib=peak_resident_gib(),
        page_faults_per_step=faults,
    )


def parts_of(timed: list[tuple[float, dict[str, float]]], *, gflop: dict[str, float]) -> tuple[StepPart, ...]:
    """The parts of some steps, the longest first, and what is left of each step at the end."""
    names = dict.fromkeys(name for _, parts in timed for name in parts)
    found = [StepPart(name=name, times_ms=tuple(parts.get(name, 0.0) for _, parts in timed), gflop=gflop.get(name, 0.0)) for name in names]
    rest = StepPart(name=REST, times_ms=tuple(max(0.0, whole - sum(parts.values())) for whole, parts in timed))
    return (*sorted(found, key=lambda part: -part.median_ms), rest)


def _allocator() -> str:
    found = find_allocator(os.environ)
    return f"{found.name}, {'freed memory is kept' if found.keeps else found.detail}"


def _machine(world: World, *, config: Config) -> str:
    facts = describe_environment(device=world.device.type, num_ranks=world.num_ranks, precision=config.optim.precision)
    return f"{facts['host_cpu']}, {facts['num_cores']} cores"
