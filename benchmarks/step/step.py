"""How many images a second does training reach, where does the time of a step go, and how much memory does it take?

    python -m benchmarks.step.step configs/demo_contrast.yaml optim.global_batch=16 --json train_step.json
    python -m benchmarks.step.step configs/demo_contrast.yaml ops.implementation=reference
    python -m benchmarks.step.step configs/demo_contrast.yaml --plain-loss

Takes CONFIG and KEY=VALUE as `mcdist train` does and runs the very loop that training runs, logging as often, on the same few photos again and
again: the loader has its own benchmark. Images a second come from steps left alone; the parts from other steps, in which the device is
waited for before and after each part, as `mcdist profile` does it (mcdist/train/parts.py). The memory is the most
that the process held over all of it, from its start: compare runs of this script. `--plain-loss` computes the loss as one writes it in torch
(benchmarks/loss/plain.py), whatever `ops.implementation` says.
"""

from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import replace
from functools import partial
from itertools import cycle
from pathlib import Path
from typing import Annotated
from unittest.mock import patch

import typer

from benchmarks.harness import inputs
from benchmarks.harness.command import run
from benchmarks.harness.measurement import Measurement, measurement, peak_process_mib, publish, times_ms
from benchmarks.harness.pretend_run import fill
from benchmarks.loss.plain import plain_contrast
from mcdist import build
from mcdist.config import Config
from mcdist.config.file import load_config
from mcdist.data.batch import Batch
from mcdist.data.finish import finish
from mcdist.distributed import World
from mcdist.ops.dispatch import choose_implementation
from mcdist.ranks.join import leave_world
from mcdist.train.loop import Progress, train
from mcdist.train.parts import Stopwatch, watched_batches, watched_parts, watched_terms
from mcdist.train.state import TrainState
from mcdist.train.terms import contrast as terms_module
from mcdist.workflows.profiling import parts_of


def first_batches(config: Config, state: TrainState) -> list[Batch]:
    """The micro-batches of the run's first step, on the device, normalised as the state's backbone expects."""
    world, backbone = state.engine.world, state.query.backbone
    reader = build.open_reader(config.data.train, key="data.train", data=config.data)
    loader = build.build_batches(config, reader, world=world, consumed=0, num_steps=1)
    return [finish(batch.to(world.device), mean=backbone.mean, std=backbone.std) for batch in loader]


def measure(config: Config, *, world: World, num_runs: int) -> list[Measurement]:
    """Images a second of whole steps, then time and share of each part, then the memory; the weights move as in training."""
    build.prepare_process(config, world=world)
    state = build.build_state(config, world=world)
    batches = first_batches(config, state)
    fill(state)
    shape = (
        f"{config.model.backbone}, {config.optim.global_batch} images of {config.views.size_px} px in {config.optim.accumulation_steps} micro-batches, "
        f"K = {config.model.bank_size:,}, {world.num_ranks} ranks"
    )
    loss = "plain" if terms_module.mask_contrast is plain_contrast else choose_implementation(world.device, implementation=config.ops.implementation)
    provider = f"{world.device.type} {config.optim.precision}{f' compiled ({config.optim.compile_mode})' if config.optim.compile else ''}, loss {loss}"
    row = partial(measurement, benchmark="train_step", provider=provider, shape=shape, device=world.device)

    with watched_parts(state) as watch:
        take_step = partial(next, endless_steps(config, state, batches=batches, watch=watch))
        whole_ms = times_ms(take_step, device=world.device, num_runs=num_runs)
        parts = parts_of([watch.time_parts(take_step) for _ in range(num_runs)], gflop={})
    rows = [row([1000 * config.optim.global_batch / taken_ms for taken_ms in whole_ms], mode="whole step", metric="images", unit="1/s")]
    sums_ms = [sum(times) for times in zip(*(part.times_ms for part in parts), strict=True)]
    for part in parts:
        rows.append(row(part.times_ms, mode=part.name, metric="time", unit="ms"))
        shares = [100 * taken / whole for taken, whole in zip(part.times_ms, sums_ms, strict=True)]
        rows.append(row(shares, mode=part.name, metric="share of the step", unit="%"))
    peak_mib = peak_process_mib(world.device)
    if peak_mib is not None:
        rows.append(row([peak_mib], mode="whole process", metric="peak memory", unit="MiB"))
    return rows


def endless_steps(config: Config, state: TrainState, *, batches: list[Batch], watch: Stopwatch) -> Iterator[Progress]:
    """The training loop over the same micro-batches for ever, at the configuration's learning rate; a log step comes as often as it says."""
    settings = replace(build.loop_settings(config, num_samples=10**9), num_steps=10**9, schedule="constant", warmup_steps=0)
    steps = watched_terms(build.step_settings(config), watch=watch)
    endless = watched_batches(cycle(batches), watch=watch)
    return train(state, endless, settings=settings, step=steps, should_stop=lambda: False, on_bad_samples=lambda step, lines: None)


def main(
    config: Annotated[Path, typer.Argument(metavar="CONFIG", help="A YAML file, such as configs/demo_contrast.yaml.", show_default=False)],
    overrides: Annotated[list[str] | None, typer.Argument(metavar="[KEY=VALUE]...", help="Settings over the file's.")] = None,
    plain_loss: Annotated[bool, typer.Option("--plain-loss", help="Take the loss as one writes it in torch, for comparison.")] = False,
    num_runs: Annotated[int, typer.Option(min=1, help="Timed steps, once whole and once by part.")] = 10,
    json: Annotated[Path | None, typer.Option(help="Write the rows to this file.")] = None,
) -> None:
    """Images a second of a training step and where its time goes."""
    loaded = load_config(config, overrides=[*(overrides or []), "data.num_workers=0"])
    world = build.build_world(loaded)
    try:
        with patch.object(terms_module, "mask_contrast", plain_contrast) if plain_loss else nullcontext():
            rows = measure(loaded, world=world, num_runs=num_runs)
        if world.is_first:
            publish(rows, json_path=json)
    finally:
        leave_world()


def quick(folder: Path) -> list[str]:
    """Arguments of `--quick`."""
    return [*inputs.small_step(folder), "--num-runs", "2"]


if __name__ == "__main__":
    run(main, quick=quick)
