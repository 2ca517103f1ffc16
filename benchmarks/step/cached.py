"""How many photos a second does training reach from cached views of a frozen backbone, against training on photos, in one run on one machine?

    python -m benchmarks.step.cached configs/voc_animals_imagenet.yaml --json cached_views.json
    python -m benchmarks.step.cached configs/voc_animals_imagenet.yaml data.train=SHARDS --cached-with model.decoder=linear

Takes CONFIG and KEY=VALUE as `mcdist train` does. Without `data.train` the photos are generated ones of 320 px. Three ways take turns, each in the very
loop that training runs, loader and logging included: `photos` as CONFIG says, `cached` the same with `views.cached`, and `cached, SETTINGS` for each
`--cached-with`, for a decoder that is as small as the rest of such a step. A round is some steps of each; `against photos` is the median of the rounds'
ratios. Between two ways it waits until the data workers have filled their queues and sleep. `making` is how fast the cache is filled, in views.
"""

import os
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Annotated

import torch
import typer

from benchmarks.harness import inputs
from benchmarks.harness.command import run
from benchmarks.harness.measurement import Measurement, measurement, publish, wait_for
from benchmarks.harness.pretend_run import fill
from mcdist import build
from mcdist.config import Config
from mcdist.config.file import load_config
from mcdist.data.readers.content import content_of
from mcdist.distributed import World
from mcdist.passes.caching import cache_views
from mcdist.ranks.join import leave_world
from mcdist.report.console import Console
from mcdist.run_dir import RunDir
from mcdist.train.loop import Progress, train

PHOTO_PX = 320
BASE = "photos"
MANY_STEPS = 10**6
SETTLE_S = 1.0


@dataclass(frozen=True, slots=True)
class Way:
    """Training one way, a step at a time. `making_s`: what its cache took, 0 without one; `num_views`: how many went into it."""

    name: str
    config: Config
    steps: Iterator[Progress]
    device: torch.device
    making_s: float
    num_views: int

    def photos_per_s(self, num_steps: int) -> float:
        """Over so many steps, after one that does not count: it finds the batches that were made while others had their turn."""
        next(self.steps)
        wait_for(self.device)
        began_s = time.perf_counter()
        for _ in range(num_steps):
            next(self.steps)
        wait_for(self.device)
        return num_steps * self.config.optim.global_batch / (time.perf_counter() - began_s)


def prepared(name: str, config: Config, *, world: World, stack: ExitStack) -> Way:
    """A way that is ready for its first step: weights as they start, a full bank, and its cache made."""
    build.prepare_process(config, world=world)
    reader = build.open_reader(config.data.train, key="data.train", data=config.data)
    state = build.build_state(config, world=world)
    fill(state)
    began_s = time.perf_counter()
    run_dir = RunDir(Path(config.run.dir)).create()
    console = stack.enter_context(Console(mode="off", total_steps=1, samples_per_step=1))
    cached = cache_views(config, reader, state=state, run_dir=run_dir, content=content_of(reader), should_stop=lambda: False, console=console)
    making_s = time.perf_counter() - began_s
    batches = stack.enter_context(closing(iter(build.build_batches(config, reader, world=world, consumed=0, num_steps=MANY_STEPS, cached=cached))))
    settings = replace(build.loop_settings(config, num_samples=len(reader)), num_steps=MANY_STEPS, schedule="constant", warmup_steps=0)
    steps = train(state, batches, settings=settings, step=build.step_settings(config), should_stop=lambda: False, on_bad_samples=lambda step, lines: None)
    return Way(name, config, steps, world.device, making_s if cached else 0.0, 2 * config.views.cached * len(reader))


def measure(ways: list[Way], *, num_rounds: int, num_steps: dict[str, int]) -> list[Measurement]:
    """Rows of every way; each round is printed to the error stream as soon as it is known."""
    speeds: dict[str, list[float]] = {way.name: [] for way in ways}
    loads = []
    for number in range(num_rounds):
        for way in ways:
            time.sleep(SETTLE_S)
            speeds[way.name].append(way.photos_per_s(num_steps[way.name]))
            typer.echo(f"round {number + 1} of {num_rounds}, {way.name}: {speeds[way.name][-1]:,.1f} photos/s", err=True)
        loads.append(os.getloadavg()[0])
    base, config = ways[0], ways[0].config
    shape = (
        f"{config.model.backbone}, {config.optim.global_batch} photos a step, views of {config.views.size_px} px, {torch.get_num_threads()} threads, "
        f"load of the machine {min(loads):.1f} to {max(loads):.1f}"
    )
    rows = []
    for way in ways:
        row = partial(measurement, benchmark="cached_views", provider=way.name, mode="training", shape=shape, device=way.device)
        rows.append(row(speeds[way.name], metric="photos", unit="1/s"))
        rows.append(row([mine / theirs for mine, theirs in zip(speeds[way.name], speeds[base.name], strict=True)], metric="against photos", unit="x"))
        if way.making_s:
            rows.append(row([way.num_views / way.making_s], mode="making", metric="views", unit="1/s"))
    return rows


def main(
    config: Annotated[Path, typer.Argument(metavar="CONFIG", help="A YAML file, such as configs/voc_animals_imagenet.yaml.", show_default=False)],
    overrides: Annotated[list[str] | None, typer.Argument(metavar="[KEY=VALUE]...", help="Settings over the file's, for every way.")] = None,
    cached_with: Annotated[
        list[str] | None, typer.Option(metavar="'KEY=VALUE ...'", help="Measure cached views with these settings too; repeat it for several.")
    ] = None,
    num_rounds: Annotated[int, typer.Option(min=1, help="Turns of every way.")] = 5,
    num_steps: Annotated[int, typer.Option(min=1, help="Steps of `photos` in a round; the others take ten times as many.")] = 3,
    num_photos: Annotated[int, typer.Option(min=1, help="Generated photos, without data.train.")] = 128,
    json: Annotated[Path | None, typer.Option(help="Write the rows to this file.")] = None,
) -> None:
    """Photos a second from cached views against those from photos."""
    given = overrides or []
    with tempfile.TemporaryDirectory() as scratch, ExitStack() as stack:
        if not any(override.startswith("data.train=") for override in given):
            given = [*given, f"data.train={inputs.shards(Path(scratch) / 'shards', num_photos=num_photos, size_px=PHOTO_PX)}"]
        extra: dict[str, list[str]] = {BASE: ["views.cached=0"], "cached": []}
        extra |= {f"cached, {settings}": settings.split() for settings in cached_with or []}
        world = build.build_world(load_config(config, overrides=given))
        stack.callback(leave_world)
        ways = []
        for place, (name, own) in enumerate(extra.items()):
            cached = [] if name == BASE else ["views.cached=1"]
            loaded = load_config(config, overrides=[*given, f"run.dir={Path(scratch) / f'run_{place}'}", *cached, *own])
            ways.append(prepared(name, loaded, world=world, stack=stack))
        rows = measure(ways, num_rounds=num_rounds, num_steps={way.name: num_steps * (1 if way.name == BASE else 10) for way in ways})
        publish(rows, json_path=json)


def quick(folder: Path) -> list[str]:
    """Arguments of `--quick`."""
    return [*inputs.small_step(folder), "model.trainable_from=3", "--num-rounds", "1", "--num-steps", "2"]


if __name__ == "__main__":
    run(main, quick=quick)
