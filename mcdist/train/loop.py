"""The loop: batches in, Progress out. It knows no logger, no checkpoint and no signal; it asks the device for numbers at log steps only."""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch

from mcdist.choices import Schedule
from mcdist.data.batch import Batch
from mcdist.data.finish import finish
from mcdist.errors import DataError, TrainingError
from mcdist.records import Record
from mcdist.train.interval import Interval
from mcdist.train.log_step import records_of
from mcdist.train.schedule import lr_at
from mcdist.train.state import TrainState
from mcdist.train.step import StepSettings, train_step


@dataclass(frozen=True, slots=True)
class LoopSettings:
    """How long and how often, plain values."""

    num_steps: int
    num_samples: int
    global_batch: int
    accumulation_steps: int
    lr: float
    schedule: Schedule
    warmup_steps: int
    log_every_steps: int
    max_nonfinite: int
    max_bad_share: float


@dataclass(frozen=True, slots=True)
class Progress:
    """State after one step: `records` is empty but at log steps; `stopped`: all ranks agreed to leave after this step."""

    step: int
    records: list[Record]
    stopped: bool


def train(
    state: TrainState,
    batches: Iterator[Batch],
    *,
    settings: LoopSettings,
    step: StepSettings,
    should_stop: Callable[[], bool],
    on_bad_samples: Callable[[int, list[str]], None],
) -> Iterator[Progress]:
    """Train to `num_steps`, one Progress a step; between two of them the state is complete and may be saved.

    A wish to stop, seen by any rank, travels along with the next step and all ranks leave after the same one. `on_bad_samples` hears
    at log steps, with the step and a line each, which samples of any rank could not be read since the last one.

    Raises:
        DataError: more than `max_bad_share` of the samples of the epochs begun could not be read.
        TrainingError: `max_nonfinite` steps in a row had a non-finite loss or gradient; the weights are those before the first of them.
    """
    world, backbone = state.world, state.query.backbone
    interval = Interval(in_a_row=torch.zeros((), device=world.device))
    while state.step < settings.num_steps:
        any_stops = world.begin_any(should_stop())
        asked_s = time.perf_counter()
        taken = [next(batches) for _ in range(settings.accumulation_steps)]
        interval.add_batches(taken, wait_s=time.perf_counter() - asked_s)
        micro_batches = [finish(batch.to(world.device, non_blocking=True), mean=backbone.mean, std=backbone.std) for batch in taken]

        lr = lr_at(state.step, num_steps=settings.num_steps, lr=settings.lr, schedule=settings.schedule, warmup_steps=settings.warmup_steps)
        result = train_step(state, micro_batches, lr=lr, settings=step)
        state.step += 1
        state.samples_consumed += settings.global_batch
        interval.add(result)

        stopped = any_stops()
        records: list[Record] = []
        if stopped or state.step % settings.log_every_steps == 0 or state.step == settings.num_steps:
            totals = interval.read(result, bank=state.bank, world=world)
            count(state, interval, totals=totals)
            if totals["bad_samples"]:
                on_bad_samples(state.step, world.gather_texts(interval.bad))
                check_bad_samples(state, settings=settings)
            check_finite(int(totals["longest"]), step=state.step, max_nonfinite=settings.max_nonfinite)
            records = records_of(
                totals,
                interval=interval,
                state=state,
                lr=lr,
                num_shares=1 if step.scope == "global" else world.num_ranks,
                global_batch=settings.global_batch,
                num_samples=settings.num_samples,
            )
            interval = Interval(in_a_row=interval.in_a_row)
        yield Progress(state.step, records, stopped)
        if stopped:
            return


def count(state: TrainState, interval: Interval, *, totals: dict[str, float]) -> None:
    """Add the interval's views and skipped steps to the run's counters, the same on all ranks."""
    for name in interval.views:
        state.counters[name] += int(totals[name])
    state.counters["nonfinite_steps"] += interval.num_steps - int(totals["finite"] / state.world.num_ranks)


def check_finite(longest: int, *, step: int, max_nonfinite: int) -> None:
    """Raise TrainingError where `longest` steps in a row were skipped and that is too many. The same number on all ranks, so all of them leave here."""
    if longest >= max_nonfinite:
        raise TrainingError(
            f"the loss or a gradient was not finite in {longest} steps in a row up to step {step}; none of them changed the weights, "
            "the last checkpoint is intact: continue with optim.precision=fp32, or with a lower optim.lr or with optim.clip_grad_norm and "
            "run.allow_changes=[optim.lr,optim.clip_grad_norm]"
        )


def check_bad_samples(state: TrainState, *, settings: LoopSettings) -> None:
    """Raise DataError where more samples than allowed could not be read. The same numbers on all ranks, so all of them leave here."""
    num_epochs = -(-state.samples_consumed // settings.num_samples)
    num_bad, num_allowed = state.counters["bad_samples"], int(settings.max_bad_share * settings.num_samples * num_epochs)
    if num_bad > num_allowed:
        raise DataError(
            f"{num_bad} samples could not be read up to step {state.step}, data.bad_samples_max_share={settings.max_bad_share:g} allows "
            f"{num_allowed} in {num_epochs} epochs of {settings.num_samples}; bad_samples.jsonl in the run folder lists them: check the shards "
            "with mcdist shards verify DIR, or raise the share"
        )
