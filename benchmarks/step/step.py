"""How many images a second does training reach, where does the time of a step go, and how much memory does it take?

    python -m benchmarks.step.step configs/demo_contrast.yaml optim.global_batch=16 --json train_step.json
    python -m benchmarks.step.step configs/demo_contrast.yaml ops.implementation=reference
    python -m benchmarks.step.step configs/demo_contrast.yaml --plain-loss

Takes CONFIG and KEY=VALUE as `mcdist train` does and runs the very loop that training runs, logging as often, on the same few photos again and
again: the loader has its own benchmark. Images a second come from steps left alone; the parts from other steps, in which the device is
waited for before and after each part. `other` is the rest of the step: gathering, counting, logging, and what waiting costs. The memory is the most
that the process held over all of it, from its start: compare runs of this script. `--plain-loss` computes the loss as one writes it in torch
(benchmarks/loss/plain.py), whatever `ops.implementation` says.
"""

import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, nullcontext
from dataclasses import replace
from functools import partial
from itertools import cycle
from pathlib import Path
from typing import Annotated, Any
from unittest.mock import patch

import torch
import typer

from benchmarks.harness.measurement import Measurement, measurement, peak_process_mib, publish, run, times_ms, wait_for
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
from mcdist.train import step as step_module
from mcdist.train.loop import Progress, train
from mcdist.train.state import TrainState
from mcdist.train.terms import contrast as terms_module

PARTS = ("key forward", "query forward", "backward", "optimizer", "pooling", "loss", "moving average", "bank", "other")


class Stopwatch:
    """Adds up the time of each part, from an idle device to an idle device."""

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self.part_ms: defaultdict[str, float] = defaultdict(float)

    def around(self, function: Callable[..., Any], *, part: str) -> Callable[..., Any]:
        """`function`, timed."""

        def timed(*arguments: Any, **options: Any) -> Any:
            wait_for(self.device)
            began_s = time.perf_counter()
            result = function(*arguments, **options)
            wait_for(self.device)
            self.part_ms[part] += 1000 * (time.perf_counter() - began_s)
            return result

        return timed


@contextmanager
def timed_parts(state: TrainState) -> Iterator[Stopwatch]:
    """Puts a stopwatch around what the step calls, so that the step itself is measured and no copy of it can drift away."""
    watch = Stopwatch(state.engine.world.device)
    places: list[tuple[Any, str, str]] = [
        (state.engine, "forward_key", "key forward"),
        (step_module, "mask_pool", "pooling"),
        (state.engine, "forward", "query forward"),
        (step_module, "query_terms", "loss"),
        (state.engine, "backward", "backward"),
        (state.engine, "step", "optimizer"),
        (step_module, "follow", "moving average"),
        (state.bank, "enqueue", "bank"),
    ]
    with ExitStack() as stack:
        for owner, name, part in places:
            stack.enter_context(patch.object(owner, name, watch.around(getattr(owner, name), part=part)))
        yield watch


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
    take_step = partial(next, endless_steps(config, state, batches=batches))
    shape = (
        f"{config.model.backbone}, {config.optim.global_batch} images of {config.views.size_px} px in {config.optim.accumulation_steps} micro-batches, "
        f"K = {config.model.bank_size:,}, {world.num_ranks} ranks"
    )
    loss = "plain" if terms_module.mask_contrast is plain_contrast else choose_implementation(world.device, implementation=config.ops.implementation)
    provider = f"{world.device.type} {config.optim.precision}{f' compiled ({config.optim.compile_mode})' if config.optim.compile else ''}, loss {loss}"
    row = partial(measurement, benchmark="train_step", provider=provider, shape=shape, device=world.device)

    whole_ms = times_ms(take_step, device=world.device, num_runs=num_runs)
    rows = [row([1000 * config.optim.global_batch / taken_ms for taken_ms in whole_ms], mode="whole step", metric="images", unit="1/s")]
    parts = [part_times_ms(state, take_step) for _ in range(num_runs)]
    for part in PARTS:
        rows.append(row([times[part] for times in parts], mode=part, metric="time", unit="ms"))
        rows.append(row([100 * times[part] / sum(times.values()) for times in parts], mode=part, metric="share of the step", unit="%"))
    peak_mib = peak_process_mib(world.device)
    if peak_mib is not None:
        rows.append(row([peak_mib], mode="whole process", metric="peak memory", unit="MiB"))
    return rows


def endless_steps(config: Config, state: TrainState, *, batches: list[Batch]) -> Iterator[Progress]:
    """The training loop over the same micro-batches for ever, at the configuration's learning rate; a log step comes as often as it says."""
    settings = replace(build.loop_settings(config, num_samples=10**9), num_steps=10**9, schedule="constant", warmup_steps=0)
    steps = build.step_settings(config)
    return train(state, cycle(batches), settings=settings, step=steps, should_stop=lambda: False, on_bad_samples=lambda step, lines: None)


def part_times_ms(state: TrainState, take_step: Callable[[], object]) -> dict[str, float]:
    """One step, part by part; the parts add up to it."""
    with timed_parts(state) as watch:
        (whole_ms,) = times_ms(take_step, device=watch.device, num_runs=1, num_warmups=0)
    timed = {part: watch.part_ms[part] for part in PARTS[:-1]}
    return {**timed, "other": max(0.0, whole_ms - sum(timed.values()))}


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


if __name__ == "__main__":
    run(main)
