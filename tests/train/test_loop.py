"""The loop asks the device for numbers at log steps only, and what it then says is so."""

import math
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import count
from typing import Any

import pytest
import torch
from step_case import SETTINGS, make_batch, make_state
from waits import Waits

from mcdist.data.batch import Batch
from mcdist.errors import TrainingError
from mcdist.train import loop
from mcdist.train.loop import LoopSettings, Progress, train
from mcdist.train.state import TrainState
from mcdist.train.step import StepResult

LOOP = LoopSettings(
    num_steps=6,
    num_samples=8,
    global_batch=4,
    accumulation_steps=2,
    lr=0.01,
    schedule="poly",
    warmup_steps=1,
    log_every_steps=3,
    max_nonfinite=2,
    max_bad_share=0.0,
    saliency_weight=1.0,
)
STEP = replace(SETTINGS, implementation="reference", momentum_buffers="copy")


def endless() -> Iterator[Batch]:
    """Micro-batches that differ, made before anybody counts."""
    batches = [make_batch(2, seed=seed) for seed in range(4)]
    return (batches[number % 4] for number in count())


def start(state: TrainState, *, settings: LoopSettings = LOOP, should_stop: Callable[[], bool] = lambda: False) -> Iterator[Progress]:
    return train(state, endless(), settings=settings, step=STEP, should_stop=should_stop, on_bad_samples=lambda step, lines: None)


def counted(state: TrainState) -> list[tuple[Progress, Counter[str]]]:
    """Each step with what it waited for."""
    steps, found = start(state), []
    for _ in range(LOOP.num_steps):
        with Waits() as waits:
            progress = next(steps)
        found.append((progress, waits.counts))
    return found


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"optimizer": "adamw", "clip_grad_norm": 0.1, "bank_dtype": "bf16"},
        {"precision": "bf16", "bank_size": 3},
        {"precision": "fp16", "bank_size": 0},
    ],
    ids=["plain", "adamw, clipped, bf16 bank", "bf16", "fp16"],
)
def test_steps_between_log_steps_wait_for_nothing_and_a_log_step_once(options: dict[str, Any]) -> None:
    for progress, waits in counted(make_state(**options)):
        assert bool(progress.records) is (progress.step % LOOP.log_every_steps == 0)
        # the sums leave the device in one piece; the counts of views that enter them come from the host
        assert waits == ({"tolist": 1, "lift_fresh": 1} if progress.records else {}), progress.step


def _item(result: StepResult) -> object:
    return result.contrast.item()


def _truth(result: StepResult) -> object:
    return bool(result.skipped)


def _number(result: StepResult) -> object:
    return f"{result.contrast:.3f}"


def _mask(result: StepResult) -> object:
    return result.prototypes[result.valid]


def _list(result: StepResult) -> object:
    return result.valid.tolist()


def _copy(result: StepResult) -> object:
    return result.prototypes.cpu()


def _count(result: StepResult) -> object:
    return result.valid.nonzero()


def _constant(result: StepResult) -> object:
    return result.contrast * torch.tensor(2.0)


@pytest.mark.parametrize("slip", [_item, _truth, _number, _mask, _list, _copy, _count, _constant])
def test_a_planted_wait_is_counted(slip: Callable[[StepResult], object], monkeypatch: pytest.MonkeyPatch) -> None:
    honest = loop.train_step

    def slipping(*arguments: Any, **options: Any) -> StepResult:
        result = honest(*arguments, **options)
        slip(result)
        return result

    monkeypatch.setattr(loop, "train_step", slipping)
    _, waits = counted(make_state())[0]
    assert waits.total() == 1


def last_records(state: TrainState, **options: Any) -> dict[str, float]:
    return {record.name: record.value for progress in start(state, **options) for record in progress.records}


def test_the_records_tell_how_full_the_bank_is_and_how_old() -> None:
    state = make_state(bank_size=256)
    steps = [progress for progress in start(state) if progress.records]
    for progress in steps:
        values = {record.name: record.value for record in progress.records}
        assert values["monitor/bank_age_max_steps"] == progress.step - 1, "nothing was overwritten: the first step's rows are the oldest"
        assert 0 < values["monitor/bank_age_mean_steps"] < progress.step - 1
    assert values["monitor/bank_fill_percent"] == pytest.approx(100 * int(state.bank.num_valid) / 256)
    assert {record.unit for record in steps[-1].records if record.name == "monitor/bank_fill_percent"} == {"%"}


def test_a_bank_smaller_than_a_step_is_always_new() -> None:
    values = last_records(make_state(bank_size=2))
    assert (values["monitor/bank_fill_percent"], values["monitor/bank_age_mean_steps"], values["monitor/bank_age_max_steps"]) == (100, 0, 0)


def test_a_run_without_a_bank_says_nothing_about_one() -> None:
    values = last_records(make_state(bank_size=0))
    assert "monitor/embedding_rank" in values
    assert not [name for name in values if "bank" in name]


def test_every_record_is_finite_and_named_once() -> None:
    for progress in start(make_state()):
        assert len({record.name for record in progress.records}) == len(progress.records)
        assert all(math.isfinite(record.value) for record in progress.records)


def test_a_wish_to_stop_ends_the_loop_after_that_step_with_records() -> None:
    wishes = iter([False, True])
    steps = list(start(make_state(), should_stop=lambda: next(wishes)))
    assert [(progress.step, progress.stopped, bool(progress.records)) for progress in steps] == [(1, False, False), (2, True, True)]


def test_skipped_steps_in_a_row_end_the_run_at_a_log_step(monkeypatch: pytest.MonkeyPatch) -> None:
    honest = loop.train_step

    def poisoned(*arguments: Any, **options: Any) -> StepResult:
        return replace(honest(*arguments, **options), skipped=torch.ones(()))

    monkeypatch.setattr(loop, "train_step", poisoned)
    with pytest.raises(TrainingError, match="not finite in 3 steps in a row up to step 3"):
        last_records(make_state())
