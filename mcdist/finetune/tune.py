"""The loop of a fine-tuning: batches in, Tuned out. It knows no logger, no checkpoint and no signal; it asks the device for numbers at log steps only."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch

from mcdist.errors import TrainingError
from mcdist.finetune.photos import LabelledBatch
from mcdist.finetune.schedule import Schedule
from mcdist.finetune.state import TuneState
from mcdist.finetune.step import tune_step


@dataclass(frozen=True, slots=True)
class Tuned:
    """State after one step. `loss`: the mean since the last log step, over all ranks; None between log steps. `stopped`: all ranks leave after this step."""

    step: int
    loss: float | None
    stopped: bool


def tune(state: TuneState, batches: Iterator[LabelledBatch], *, schedule: Schedule, log_every_steps: int, should_stop: Callable[[], bool]) -> Iterator[Tuned]:
    """Train to the end of the schedule, one Tuned a step; between two of them the state is complete and may be saved.

    Raises:
        TrainingError: no step since the last log step had a finite gradient; the weights are those before the first of them.
    """
    world = state.world
    losses, num_losses, skipped_before = torch.zeros((), device=world.device), 0, float(state.skipped)
    while state.step < schedule.num_steps:
        any_stops = world.begin_any(should_stop())
        loss = tune_step(state, next(batches).to(world.device), lr=schedule.lr_at(state.step))
        losses += torch.where(torch.isfinite(loss), loss, 0.0)
        num_losses, state.step = num_losses + 1, state.step + 1
        if schedule.ends_epoch(state.step):
            state.of_epochs[state.step // schedule.epoch_steps - 1] = state.network.classifier
        stopped = any_stops()
        said = None
        if stopped or state.step % log_every_steps == 0 or state.step == schedule.num_steps:
            said, num_skipped = float(world.sum(losses)) / num_losses, float(state.skipped) - skipped_before
            if not stopped:
                check_finite(int(num_skipped), num_steps=num_losses, step=state.step, lr=schedule.lr)
            losses, num_losses, skipped_before = torch.zeros_like(losses), 0, skipped_before + num_skipped
        yield Tuned(state.step, said, stopped)
        if stopped:
            return


def check_finite(num_skipped: int, *, num_steps: int, step: int, lr: float) -> None:
    """Raise TrainingError where each of some steps was skipped. The same numbers on all ranks, so all of them leave here."""
    if num_skipped >= num_steps:
        raise TrainingError(
            f"the gradient was not finite in {num_skipped} steps in a row up to step {step}: a learning rate of {lr:g} is too much for this network; "
            "fine-tune with a smaller --lr into another --out"
        )
