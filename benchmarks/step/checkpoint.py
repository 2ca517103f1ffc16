"""What does a checkpoint cost training, written beside it (asynchronous) or with training waiting (synchronous)?

    python -m benchmarks.step.checkpoint configs/demo_contrast.yaml --json checkpoint.json

Rounds of steps on the same few photos, in turn: without a save, with a synchronous one after the first step, with an asynchronous one. A round ends
when its checkpoint is on the disk, so a thread that takes the steps' processor time is paid for. What a save costs is the round's time beyond the
mean of the two rounds without a save around it; its share of the step time is that cost over the time of `checkpoint.every_steps` steps.
`longest step` is how long training stood still at most.
"""

import tempfile
import time
from collections import defaultdict
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from benchmarks.harness import inputs
from benchmarks.harness.command import run
from benchmarks.harness.measurement import Measurement, measurement, publish, wait_for
from benchmarks.step.step import endless_steps, fill, first_batches
from mcdist import build
from mcdist.config import Config
from mcdist.config.file import load_config
from mcdist.disk.checkpoint import save_checkpoint
from mcdist.disk.saver import Saver
from mcdist.distributed import World
from mcdist.ranks.join import leave_world
from mcdist.train.parts import Stopwatch
from mcdist.train.state import TrainState

WITHOUT, WAYS = "no save", ("synchronous", "asynchronous")


def round_s(take_step: Callable[[], object], *, save: Callable[[], None], settle: Callable[[], None], world: World, num_steps: int) -> tuple[float, float]:
    """(seconds of the round, of its longest step) of `num_steps` steps with a save after the first."""
    longest_s, began_s = 0.0, time.perf_counter()
    for step in range(num_steps):
        step_began_s = time.perf_counter()
        take_step()
        if step == 0:
            save()
        wait_for(world.device)
        longest_s = max(longest_s, time.perf_counter() - step_began_s)
    settle()
    return time.perf_counter() - began_s, longest_s


def measure(config: Config, *, world: World, num_rounds: int, num_steps: int, folder: Path) -> list[Measurement]:
    """Step time, then of each way the cost of a save, its share and the longest step."""
    build.prepare_process(config, world=world)
    state = build.build_state(config, world=world)
    batches = first_batches(config, state)
    fill(state)
    take_step = partial(next, endless_steps(config, state, batches=batches, watch=Stopwatch(world.device)))
    savers = {way: Saver(asynchronous=way == "asynchronous") for way in WAYS}
    for way in WAYS:  # the first save makes its room in memory
        _save(savers[way], state, folder=folder)
        savers[way].wait()
        take_step()

    def timed(way: str) -> tuple[float, float]:
        if way == WITHOUT:
            return round_s(take_step, save=lambda: None, settle=lambda: None, world=world, num_steps=num_steps)
        saver = savers[way]
        return round_s(take_step, save=lambda: _save(saver, state, folder=folder), settle=saver.wait, world=world, num_steps=num_steps)

    plain, costs, longest = [timed(WITHOUT)], defaultdict(list), defaultdict(list)
    for _ in range(num_rounds):
        for way in WAYS:
            whole_s, longest_s = timed(way)
            plain.append(timed(WITHOUT))
            costs[way].append(1000 * (whole_s - (plain[-1][0] + plain[-2][0]) / 2))
            longest[way].append(1000 * longest_s)
    steps_ms = [1000 * whole_s / num_steps for whole_s, _ in plain]
    step_ms = sorted(steps_ms)[len(steps_ms) // 2]

    mib = sum(tensor.numel() * tensor.element_size() for tensor in state.tensors().values()) / 2**20
    shape = f"{config.model.backbone}, {config.optim.global_batch} images of {config.views.size_px} px, a checkpoint of {mib:.0f} MiB"
    row = partial(measurement, benchmark="checkpoint", shape=shape, device=world.device)
    rows = [row(steps_ms, provider=WITHOUT, mode="training", metric="step time", unit="ms")]
    rows.append(row([1000 * longest_s for _, longest_s in plain], provider=WITHOUT, mode="training", metric="longest step", unit="ms"))
    for way in WAYS:
        share = [100 * cost_ms / (config.checkpoint.every_steps * step_ms) for cost_ms in costs[way]]
        rows.append(row(costs[way], provider=way, mode="a save", metric="cost", unit="ms"))
        rows.append(row(share, provider=way, mode=f"every {config.checkpoint.every_steps} steps", metric="share of the step time", unit="%"))
        rows.append(row(longest[way], provider=way, mode="a save", metric="longest step", unit="ms"))
    return rows


def _save(saver: Saver, state: TrainState, *, folder: Path) -> None:
    numbers = state.numbers()
    saver.save(state.tensors(), write=lambda tensors: save_checkpoint(folder / "step", tensors=tensors, numbers=numbers))


def main(
    config: Annotated[Path, typer.Argument(metavar="CONFIG", help="A YAML file, such as configs/demo_contrast.yaml.", show_default=False)],
    overrides: Annotated[list[str] | None, typer.Argument(metavar="[KEY=VALUE]...", help="Settings over the file's.")] = None,
    num_rounds: Annotated[int, typer.Option(min=1, help="Rounds of each way.")] = 7,
    num_steps: Annotated[int, typer.Option(min=2, help="Steps a round: more than a checkpoint takes to be written.")] = 20,
    folder: Annotated[Path | None, typer.Option(help="Where the checkpoints are written; the temporary folder where none is given.")] = None,
    json: Annotated[Path | None, typer.Option(help="Write the rows to this file.")] = None,
) -> None:
    """What saving costs training."""
    loaded = load_config(config, overrides=[*(overrides or []), "data.num_workers=0"])
    world = build.build_world(loaded)
    try:
        with tempfile.TemporaryDirectory(dir=folder) as room:
            publish(measure(loaded, world=world, num_rounds=num_rounds, num_steps=num_steps, folder=Path(room)), json_path=json)
    finally:
        leave_world()


def quick(folder: Path) -> list[str]:
    """Arguments of `--quick`."""
    return [*inputs.small_step(folder), "--num-rounds", "1", "--num-steps", "3"]


if __name__ == "__main__":
    run(main, quick=quick)
