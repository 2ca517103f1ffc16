"""What do the ranks exchange in a training step: how many collectives, of how many bytes, and how much more than gradients and prototypes?

    torchrun --nproc-per-node 2 benchmarks/scaling/collectives.py configs/paper/moco_unsupervised.yaml --json collectives.json
    torchrun --nproc-per-node 2 benchmarks/scaling/collectives.py configs/demo_contrast.yaml model.norm=sync

Takes CONFIG and KEY=VALUE as `mcdist train` does and runs the very loop that training runs, on made-up photos, CPU and gloo. A
row a purpose: calls a step, and bytes a step as a rank sees them (what an all-reduce reduces, what an all-gather brings). `ratio` is
everything beside gradients + prototypes. `wire` is what Linux counted on rank 0's TCP connections, `wire ratio` that beside what a ring all-reduce of
the gradients and a gather of the prototypes must bring. Logging is left out, and has a row of its own.
"""

import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import torch
import typer

from benchmarks.harness import inputs
from benchmarks.harness.command import run
from benchmarks.harness.measurement import ROOT, Measurement, measurement, publish
from benchmarks.harness.pretend_run import fill, pretend_batches, pretend_steps
from benchmarks.scaling.traffic import PURPOSES, needed_bytes, traffic, wire_bytes
from mcdist import build
from mcdist.config import Config
from mcdist.config.file import load_config
from mcdist.distributed import World
from mcdist.errors import ConfigError, MachineError
from mcdist.ranks.join import leave_world

WARMUP_STEPS = 3
"""After two steps DDP lays its buckets out anew, once."""


def measure(config: Config, *, world: World, num_runs: int) -> list[Measurement]:
    """Calls and bytes of each step by purpose; the log step's from one step that logs."""
    build.prepare_process(config, world=world)
    state = build.build_state(config, world=world)
    fill(state)
    quiet = replace(config, report=replace(config.report, log_every_steps=10**6))
    batches = pretend_batches(config, world=world)
    steps = pretend_steps(quiet, state, batches=batches)
    for _ in range(WARMUP_STEPS):
        next(steps)
    counted = []
    for _ in range(num_runs):
        world.barrier()
        before = wire_bytes()
        with traffic(state) as seen:
            next(steps)
        world.barrier()
        after = wire_bytes()
        counted.append((seen, None if before is None or after is None else after - before))
    with traffic(state) as logged:
        next(pretend_steps(replace(config, report=replace(config.report, log_every_steps=1)), state, batches=batches))

    shape = f"{config.model.backbone}, {config.optim.global_batch} images, up to {config.views.max_objects} objects each, norm {config.model.norm}"
    provider = f"gloo, {world.num_ranks} ranks"

    def row(values: list[float], *, mode: str, metric: str, unit: str) -> Measurement:
        return measurement(values, benchmark="collectives", provider=provider, mode=mode, shape=shape, metric=metric, unit=unit, device=world.device)

    rows = []
    for purpose in (*PURPOSES, "other"):
        who = [logged] if purpose == "log step" else [seen for seen, _ in counted]
        if any(seen.calls[purpose] for seen in who):
            rows.append(row([float(seen.calls[purpose]) for seen in who], mode=purpose, metric="calls", unit="1/step"))
            rows.append(row([float(seen.num_bytes[purpose]) for seen in who], mode=purpose, metric="bytes", unit="B/step"))
    rows.append(row([_ratio(seen.num_bytes) for seen, _ in counted], mode="all", metric="ratio", unit="x"))
    rows.append(row([float(sum(seen.calls.values())) for seen, _ in counted], mode="all", metric="calls", unit="1/step"))
    wires = [float(wire) for _, wire in counted if wire is not None]
    if wires:
        needed = needed_bytes(state, prototypes_bytes=counted[0][0].num_bytes["prototypes"])
        rows.append(row(wires, mode="all", metric="wire", unit="B/step"))
        rows.append(row([wire / needed for wire in wires], mode="all", metric="wire ratio", unit="x"))
    return rows


def _ratio(num_bytes: dict[str, int]) -> float:
    """All bytes beside those that cannot be done without."""
    return sum(num_bytes.values()) / (num_bytes["gradients"] + num_bytes["prototypes"])


def main(
    config: Annotated[Path, typer.Argument(metavar="CONFIG", help="A YAML file, such as configs/demo_contrast.yaml.", show_default=False)],
    overrides: Annotated[list[str] | None, typer.Argument(metavar="[KEY=VALUE]...", help="Settings over the file's.")] = None,
    num_runs: Annotated[int, typer.Option(min=1, help="Counted steps.")] = 5,
    ranks: Annotated[int, typer.Option(min=0, help="Start so many ranks, without torchrun; 0: this process is one of torchrun's.")] = 0,
    json: Annotated[Path | None, typer.Option(help="Write the rows to this file.")] = None,
) -> None:
    """Collectives of a training step, by purpose."""
    if ranks:
        return _start(ranks, [str(config), *(overrides or []), "--num-runs", str(num_runs), *(["--json", str(json)] if json else [])])
    loaded = load_config(config, overrides=[*(overrides or []), "run.device=cpu", "model.weights=none"])
    world = build.build_world(loaded)
    try:
        if world.num_ranks == 1:
            raise ConfigError("one rank exchanges nothing; start with --ranks 2, or under torchrun --nproc-per-node 2")
        torch.manual_seed(0)
        rows = measure(loaded, world=world, num_runs=num_runs)
        if world.is_first:
            publish(rows, json_path=json)
    finally:
        leave_world()


def _start(num_ranks: int, arguments: list[str]) -> None:
    """This benchmark under torchrun. Raises MachineError where it failed; what it said is on the error stream."""
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(num_ranks), "-m", "benchmarks.scaling.collectives"]
    if code := subprocess.run([*launcher, *arguments], cwd=ROOT, check=False).returncode:
        raise MachineError(f"{num_ranks} ranks ended with exit code {code}; their own words are above")


def quick(folder: Path) -> list[str]:
    """Arguments of `--quick`."""
    return [*inputs.small_step(folder), "--ranks", "2", "--num-runs", "2"]


if __name__ == "__main__":
    run(main, quick=quick)
