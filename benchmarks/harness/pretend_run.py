"""A training run on made-up photos, for benchmarks of what happens between ranks: the very loop that training runs, without reading any data."""

from collections.abc import Iterator
from dataclasses import replace
from itertools import cycle

import torch

from mcdist import build
from mcdist.config import Config
from mcdist.data.batch import Batch
from mcdist.distributed import World
from mcdist.train.loop import Progress, train
from mcdist.train.state import TrainState


def pretend_batches(config: Config, *, world: World) -> list[Batch]:
    """This rank's micro-batches of one step: noise, with `max_objects` rectangles a photo on 38 % of it, and finished colours."""
    num_parts = build.accumulation_steps(config, num_ranks=world.num_ranks)
    size, num_photos = config.views.size_px, config.optim.global_batch // world.num_ranks // num_parts
    generator = torch.Generator().manual_seed(world.rank)
    instances = torch.zeros(num_photos, size, size, dtype=torch.int16)
    height, width = int(size * 0.62), size // config.views.max_objects
    for object_ in range(config.views.max_objects):
        instances[:, size - height :, object_ * width : (object_ + 1) * width - int(width * 0.38)] = object_ + 1

    def images() -> torch.Tensor:
        return torch.randn(num_photos, 3, size, size, generator=generator).contiguous(memory_format=torch.channels_last).to(world.device)

    indices = torch.arange(num_photos, device=world.device)
    return [Batch(images(), images(), instances.to(world.device), instances.to(world.device), indices, 0, 0, 0) for _ in range(num_parts)]


def pretend_steps(config: Config, state: TrainState, *, batches: list[Batch]) -> Iterator[Progress]:
    """The training loop over the same micro-batches for ever, at a learning rate that changes next to nothing; logs as often as `config` says."""
    world = state.engine.world
    settings = replace(build.loop_settings(config, num_samples=10**9, num_ranks=world.num_ranks), num_steps=10**9, schedule="constant", warmup_steps=0, lr=1e-9)
    steps = build.step_settings(config)
    return train(state, cycle(batches), settings=settings, step=steps, should_stop=lambda: False, on_bad_samples=lambda step, lines: None)


def fill(state: TrainState) -> None:
    """Fill the bank with random unit vectors: but for a run's first steps it is full."""
    size, dim = state.bank.candidates.shape
    rows = torch.nn.functional.normalize(torch.randn(size, dim, generator=torch.Generator().manual_seed(0)), dim=1).to(state.bank.candidates.device)
    if size:
        state.bank.enqueue(rows, valid=torch.ones(size, dtype=torch.bool, device=rows.device))
