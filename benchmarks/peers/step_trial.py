"""One process of benchmarks/peers/page.py: takes a training step one way for each line that it reads.

yes "" | head -4 | python -m benchmarks.peers.step_trial mcdist configs/demo_contrast.yaml optim.global_batch=8
"""

import copy
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import torch
import typer

from benchmarks.harness.command import run
from benchmarks.harness.measurement import allocator, peak_process_mib
from benchmarks.harness.pretend_run import fill, pretend_batches, pretend_steps
from benchmarks.harness.turns import answer
from benchmarks.peers.lightly_steps import bank_step, detcon_step
from benchmarks.peers.plain import plain_step
from mcdist import build
from mcdist.config import Config
from mcdist.config.file import load_config
from mcdist.data.batch import Batch
from mcdist.errors import ConfigError
from mcdist.ranks.join import leave_world
from mcdist.train.state import TrainState

LR = 1e-9
"""That of pretend_steps: every pass sees about the same weights."""
NUM_WARMUPS = 2


def ours(config: Config, state: TrainState, batch: Batch) -> tuple[Callable[[], object], float]:
    """The loop that `mcdist train` runs, and its first contrastive loss."""
    logged = next(pretend_steps(replace(config, report=replace(config.report, log_every_steps=1)), state, batches=[batch]))
    steps = pretend_steps(config, state, batches=[batch])
    return lambda: next(steps), next(record.value for record in logged.records if record.name == "loss/contrast")


def others(name: str, config: Config, state: TrainState, batch: Batch) -> tuple[Callable[[], torch.Tensor], float]:
    """A step of somebody else on the same encoders, in torch's own memory layout."""
    query, key = (copy.deepcopy(encoder).to(memory_format=torch.contiguous_format) for encoder in (state.query, state.key))
    batch = replace(batch, **{field: getattr(batch, field).contiguous(memory_format=torch.contiguous_format) for field in ("query_images", "key_images")})
    common: dict[str, Any] = {"query": query, "batch": batch, "lr": LR}
    if name == "plain torch":
        step = plain_step(config, **common, key=key, bank=state.bank.candidates.clone())
    elif name == "lightly DetConS":
        step = detcon_step(config, **common)
    else:
        step = bank_step(config, **common, key=key)
    return step, float(step())


WAYS = ("mcdist", "plain torch", "lightly DetConS", "lightly NTXent, bank")


def main(
    way: Annotated[str, typer.Argument(help=f"One of: {'; '.join(WAYS)}.")],
    config: Annotated[Path, typer.Argument(metavar="CONFIG")],
    overrides: Annotated[list[str] | None, typer.Argument(metavar="[KEY=VALUE]...")] = None,
) -> None:
    """A step for each line of the standard input."""
    if way not in WAYS:
        raise ConfigError(f"WAY must be one of {', '.join(WAYS)}, got {way!r}")
    loaded = load_config(config, overrides=[*(overrides or []), "run.device=cpu"])
    world = build.build_world(loaded)
    build.prepare_process(loaded, world=world)
    state = build.build_state(loaded, world=world)
    fill(state)
    (batch,) = pretend_batches(loaded, world=world)
    step, first_loss = ours(loaded, state, batch) if way == "mcdist" else others(way, loaded, state, batch)
    for _ in range(NUM_WARMUPS):
        step()
    answer(step, ready={"loss": first_loss, "allocator": allocator()}, last=lambda: peak_process_mib(torch.device("cpu")))
    leave_world()


if __name__ == "__main__":
    run(main)
