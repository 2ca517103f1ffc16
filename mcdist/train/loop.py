"""The loop: batches in, Progress out. It knows no logger, no checkpoint and no signal; it asks the device for numbers at log steps only."""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch

from mcdist.data.batch import Batch
from mcdist.data.finish import finish
from mcdist.errors import DataError, TrainingError
from mcdist.records import Record
from mcdist.train.monitor import embedding_rank, prototype_similarity
from mcdist.train.schedule import lr_at
from mcdist.train.state import TrainState
from mcdist.train.step import StepResult, StepSettings, train_step


@dataclass(frozen=True, slots=True)
class LoopSettings:
    """How long and how often, plain values."""

    num_steps: int
    num_samples: int
    global_batch: int
    accumulation_steps: int
    lr: float
    schedule: str
    warmup_steps: int
    log_every_steps: int
    max_nonfinite: int
    saliency_weight: float
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

    A wish to stop, seen by any rank, travels along with the next step and all ranks leave after the same one. `on_bad_samples` is told
    at log steps, with the step and a line each, which samples of any rank could not be read since the last one.

    Raises:
        DataError: more than `max_bad_share` of the samples of the epochs begun could not be read.
        TrainingError: `max_nonfinite` steps in a row had a non-finite loss or gradient; the weights are those before the first of them.
    """
    device = state.engine.world.device
    interval = _Interval(state)
    while state.step < settings.num_steps:
        any_stops = state.engine.world.begin_any(should_stop())
        micro_batches = interval.take(batches, settings.accumulation_steps, device=device)
        lr = lr_at(state.step, num_steps=settings.num_steps, lr=settings.lr, schedule=settings.schedule, warmup_steps=settings.warmup_steps)
        result = train_step(state, micro_batches, lr=lr, settings=step)
        state.step += 1
        state.samples_consumed += settings.global_batch
        interval.add(result)
        stopped = any_stops()
        due = stopped or state.step % settings.log_every_steps == 0 or state.step == settings.num_steps
        records = interval.close(result, lr=lr, settings=settings, summed=step.scope == "global", on_bad_samples=on_bad_samples) if due else []
        yield Progress(state.step, records, stopped)
        if stopped:
            return


class _Interval:
    """Sums since the last log step: device scalars stay on the device, times and view counts on the host."""

    NAMES = ("contrast", "saliency", "correct", "num_pixels", "coverage", "grad_norm", "finite", "skipped")

    def __init__(self, state: TrainState) -> None:
        self.state = state
        self.in_a_row = torch.zeros((), device=state.engine.world.device)
        self._open()

    def _open(self) -> None:
        self.sums = torch.zeros(len(self.NAMES), dtype=torch.float64, device=self.in_a_row.device)
        self.views = dict.fromkeys(("redrawn", "emptied", "dropped_objects", "bad_samples"), 0)
        self.bad: list[str] = []
        self.longest = self.in_a_row.clone()
        self.num_steps, self.wait_s, self.began_s = 0, 0.0, time.perf_counter()

    def take(self, batches: Iterator[Batch], number: int, *, device: torch.device) -> list[Batch]:
        """The next micro-batches, finished on the device; the time spent waiting for the loader is counted."""
        began_s = time.perf_counter()
        taken = [next(batches) for _ in range(number)]
        self.wait_s += time.perf_counter() - began_s
        for batch in taken:
            self.views["redrawn"] += batch.num_redrawn
            self.views["emptied"] += batch.num_emptied
            self.views["dropped_objects"] += batch.num_dropped_objects
            self.views["bad_samples"] += batch.num_bad
            self.bad += batch.bad
        return [finish(batch.to(device, non_blocking=True)) for batch in taken]

    def add(self, result: StepResult) -> None:
        """Skipped steps count, and stay out of the means."""
        skipped = result.skipped
        values = [result.contrast, result.saliency, result.correct, result.num_pixels, result.coverage, result.grad_norm, 1.0 - skipped]
        kept = torch.stack([value.to(torch.float64) for value in values])
        self.sums += torch.cat([torch.where(skipped > 0, 0.0, kept), skipped[None].to(torch.float64)])
        self.in_a_row = (self.in_a_row + skipped) * skipped
        self.longest = torch.maximum(self.longest, self.in_a_row)
        self.num_steps += 1

    def read(self, result: StepResult) -> dict[str, float]:
        """Sums over the interval and all ranks, then what is the same on all ranks; the one place where the host waits for the device."""
        own = torch.cat([self.sums, torch.tensor(list(self.views.values()), dtype=torch.float64, device=self.sums.device)])
        bank = self.state.bank.usage()
        same = {
            "longest": self.longest,
            "rank": embedding_rank(result.prototypes, valid=result.valid),
            "similarity": prototype_similarity(result.prototypes, valid=result.valid),
            "bank_fill": bank.fill_percent,
            "bank_age_mean": bank.age_mean_steps,
            "bank_age_max": bank.age_max_steps,
        }
        values = torch.cat([self.state.engine.world.sum(own), torch.stack([value.to(torch.float64) for value in same.values()])])
        return dict(zip((*self.NAMES, *self.views, *same), values.tolist(), strict=True))

    def close(self, result: StepResult, *, lr: float, settings: LoopSettings, summed: bool, on_bad_samples: Callable[[int, list[str]], None]) -> list[Record]:
        """Means over the interval and all ranks as Records."""
        world, total = self.state.engine.world, self.read(result)
        took_s = time.perf_counter() - self.began_s
        finite = max(total["finite"] / world.num_ranks, 1.0)
        ranks = 1 if summed else world.num_ranks
        self._count(total, num_ranks=world.num_ranks)
        if total["bad_samples"]:
            on_bad_samples(self.state.step, world.gather_texts(self.bad))
            self._check_bad_samples(settings)
        contrast, saliency = total["contrast"] / finite / ranks, total["saliency"] / finite / ranks
        values = {
            "loss": (contrast + settings.saliency_weight * saliency, ""),
            "loss/contrast": (contrast, ""),
            "loss/saliency": (saliency, ""),
            "accuracy_percent": (100 * total["correct"] / max(total["num_pixels"], 1.0), "%"),
            "lr": (lr, ""),
            "grad_norm": (total["grad_norm"] / world.num_ranks / finite, ""),
            "epoch": (self.state.samples_consumed / settings.num_samples, ""),
            "images_per_s": (self.num_steps * settings.global_batch / took_s, "1/s"),
            "step_time_s": (took_s / self.num_steps, "s"),
            "data_wait_percent": (100 * self.wait_s / took_s, "%"),
            "monitor/saliency_coverage_percent": (100 * total["coverage"] / world.num_ranks / finite, "%"),
            "monitor/embedding_rank": (total["rank"], ""),
            "monitor/prototype_similarity": (total["similarity"], ""),
        }
        if self.state.bank.size:
            values |= {
                "monitor/bank_fill_percent": (total["bank_fill"], "%"),
                "monitor/bank_age_mean_steps": (total["bank_age_mean"], ""),
                "monitor/bank_age_max_steps": (total["bank_age_max"], ""),
            }
        values |= {f"count/{name}": (float(value), "") for name, value in self.state.counters.items()}
        longest = int(total["longest"])
        self._open()
        if longest >= settings.max_nonfinite:
            raise TrainingError(
                f"the loss or a gradient was not finite in {longest} steps in a row up to step {self.state.step}; none of them changed the weights, "
                "the last checkpoint is intact: lower optim.lr, set optim.clip_grad_norm, or use optim.precision=fp32"
            )
        return [Record(self.state.step, name, value, unit) for name, (value, unit) in values.items()]

    def _check_bad_samples(self, settings: LoopSettings) -> None:
        """The same numbers on all ranks, so all of them leave here."""
        num_epochs = -(-self.state.samples_consumed // settings.num_samples)
        num_bad, num_allowed = self.state.counters["bad_samples"], int(settings.max_bad_share * settings.num_samples * num_epochs)
        if num_bad > num_allowed:
            raise DataError(
                f"{num_bad} samples could not be read up to step {self.state.step}, data.bad_samples_max_share={settings.max_bad_share:g} allows "
                f"{num_allowed} in {num_epochs} epochs of {settings.num_samples}; bad_samples.jsonl in the run folder lists them: check the shards "
                "with mcdist shards verify DIR, or raise the share"
            )

    def _count(self, total: dict[str, float], *, num_ranks: int) -> None:
        counters = self.state.counters
        for name in self.views:
            counters[name] += int(total[name])
        counters["nonfinite_steps"] += int(total["skipped"] / num_ranks)
