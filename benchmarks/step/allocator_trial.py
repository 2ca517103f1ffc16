"""One process of benchmarks/step/allocator.py: does a pass of one kind of work for each line it reads, with the allocator that its environment names.

    yes "" | head -4 | python -m benchmarks.step.allocator_trial forward 16 160 --num-threads 1

It prints a line of JSON for its allocator once it is ready, one for each pass, and one for the most memory that it held. The model is that of
configs/voc_animals_imagenet.yaml, the photos are noise. Two passes come before the first line: they fill the heap.
"""

import os
from collections.abc import Callable
from typing import Annotated

import torch
import typer

from benchmarks.harness.command import run
from benchmarks.harness.measurement import peak_process_mib
from benchmarks.harness.pretend_run import fill, pretend_batches, pretend_steps
from benchmarks.harness.turns import answer
from mcdist import build
from mcdist.config import Config
from mcdist.config.file import load_config
from mcdist.config.presets import presets_folder
from mcdist.errors import ConfigError
from mcdist.machine.allocator import find_allocator
from mcdist.ranks.join import leave_world

NUM_WARMUPS = 2


def forward_pass(config: Config) -> Callable[[], object]:
    """The frozen backbone's forward pass, as for the keys of a step and in an evaluation."""
    backbone = build.build_encoder(config.model).eval().backbone
    size = config.views.size_px
    photos = torch.randn(config.optim.global_batch, 3, size, size, generator=torch.Generator().manual_seed(0)).contiguous(memory_format=torch.channels_last)

    def action() -> object:
        with torch.inference_mode():
            return backbone(photos)

    return action


def training_step(config: Config) -> Callable[[], object]:
    """A step of the training loop, with a full bank."""
    world = build.build_world(config)
    build.prepare_process(config, world=world)
    state = build.build_state(config, world=world)
    fill(state)
    steps = pretend_steps(config, state, batches=pretend_batches(config, world=world))
    return lambda: next(steps)


WORKS = {"forward": forward_pass, "training": training_step}


def main(
    work: Annotated[str, typer.Argument(help="forward or training.")],
    num_photos: Annotated[int, typer.Argument(help="Photos a pass.")],
    size_px: Annotated[int, typer.Argument(help="Their side.")],
    num_threads: Annotated[int, typer.Option(min=1, help="CPU threads.")] = 1,
) -> None:
    """A pass for each line of the standard input."""
    if work not in WORKS:
        raise ConfigError(f"WORK must be one of {', '.join(WORKS)}, got {work!r}")
    torch.set_num_threads(num_threads)
    settings = [f"run.num_threads={num_threads}", "run.device=cpu", "data.num_lanes=1", f"optim.global_batch={num_photos}", f"views.size_px={size_px}"]
    action = WORKS[work](load_config(presets_folder() / "voc_animals_imagenet.yaml", overrides=settings))
    for _ in range(NUM_WARMUPS):
        action()
    allocator = find_allocator(os.environ)
    answer(action, ready=f"{allocator.name}: {allocator.detail}", last=lambda: peak_process_mib(torch.device("cpu")))
    leave_world()


if __name__ == "__main__":
    run(main)
