"""The loop asks the device for numbers at log steps only, and what it then says is so."""

import math
import resource
from collections import Counter
from collections.abc import Callable, Container, Iterator
from dataclasses import replace
from itertools import count
from mmap import mmap
from pathlib import Path
from typing import Any

import pytest
import torch

from mcdist.data.batch import Batch
from mcdist.errors import TrainingError
from mcdist.train import interval, loop
from mcdist.train.loop import LoopSettings, Progress, train
from mcdist.train.memory import page_faults, peak_resident_gib, read_peaks
from mcdist.train.state import TrainState
from mcdist.train.step import StepResult, StepSettings
from tests.train.step_case import make_batch, make_settings, make_state
from tests.train.waits import Waits

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
)
STEP = make_settings(implementation="reference", momentum_buffers="copy")


def endless() -> Iterator[Batch]:
    """Micro-batches that differ, made before anybody counts."""
    batches = [make_batch(2, seed=seed) for seed in range(4)]
    return (batches[number % 4] for number in count())


def start(
    state: TrainState,
    *,
    settings: LoopSettings = LOOP,
    step: StepSettings = STEP,
    batches: Iterator[Batch] | None = None,
    should_stop: Callable[[], bool] = lambda: False,
) -> Iterator[Progress]:
    return train(state, batches or endless(), settings=settings, step=step, should_stop=should_stop, on_bad_samples=lambda step, lines: None)


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
    return result.loss.item()


def _truth(result: StepResult) -> object:
    return bool(result.skipped)


def _number(result: StepResult) -> object:
    return f"{result.loss:.3f}"


def _mask(result: StepResult) -> object:
    return result.prototypes[result.valid]


def _list(result: StepResult) -> object:
    return result.valid.tolist()


def _copy(result: StepResult) -> object:
    return result.prototypes.cpu()


def _count(result: StepResult) -> object:
    return result.valid.nonzero()


def _constant(result: StepResult) -> object:
    return result.loss * torch.tensor(2.0)


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


def test_every_term_of_the_loss_is_recorded_by_its_name_and_the_sum_is_of_them() -> None:
    terms = tuple(replace(term, weight=weight) for term, weight in zip(STEP.terms, (1.0, 0.3), strict=True))
    twice = replace(terms[1], name="once more", weight=2.0)
    values = last_records(make_state(), step=replace(STEP, terms=(*terms, twice)))
    assert [name for name in values if name.startswith("loss")] == ["loss", "loss/contrast", "loss/saliency", "loss/once more"]
    assert values["loss/once more"] == values["loss/saliency"]
    assert values["loss"] == pytest.approx(values["loss/contrast"] + 2.3 * values["loss/saliency"], rel=1e-6)


def test_the_memory_of_the_process_is_recorded() -> None:
    (first, last) = [progress for progress in start(make_state()) if progress.records]
    (record,) = [record for record in last.records if record.name.startswith("memory_")]
    assert (record.name, record.unit) == ("memory_resident_gib", "GiB")
    assert record.value == pytest.approx(peak_resident_gib(), rel=0.05)
    assert first.records[-6].name == "memory_resident_gib", "before the counts"


def test_the_page_faults_of_a_step_are_a_mean_over_the_interval(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = iter([1000, 1600, 5000, 5090])  # as each of the two intervals of three steps begins and ends
    monkeypatch.setattr(interval, "page_faults", lambda: next(asked, 0))
    found = [record for progress in start(make_state()) for record in progress.records if record.name == "page_faults_per_step"]
    assert [(record.step, record.value, record.unit) for record in found] == [(3, 200.0, ""), (6, 30.0, "")]


def test_page_faults_are_those_of_touching_new_pages() -> None:
    before = page_faults()
    with mmap(-1, 64 * resource.getpagesize()) as pages:
        pages[:] = bytes(len(pages))
    assert 64 <= page_faults() - before < 500


def test_a_device_tells_its_peak_of_each_interval(monkeypatch: pytest.MonkeyPatch) -> None:
    held = {"peak": 3 * 2**30, "now": 2**30}
    monkeypatch.setattr(torch.cuda, "max_memory_allocated", lambda device: held["peak"])
    monkeypatch.setattr(torch.cuda, "reset_peak_memory_stats", lambda device: held.update(peak=held["now"]))
    assert [read_peaks(torch.device("cuda"))["memory_device_gib"] for _ in range(2)] == [3.0, 1.0]


def test_without_proc_the_peak_is_that_of_getrusage(monkeypatch: pytest.MonkeyPatch) -> None:
    known = peak_resident_gib()
    monkeypatch.setattr(Path, "read_text", lambda *arguments, **options: "")
    assert peak_resident_gib() == pytest.approx(known, rel=0.2)


def test_every_record_is_finite_and_named_once() -> None:
    steps = list(start(make_state()))
    assert any(progress.records for progress in steps)
    for progress in steps:
        assert len({record.name for record in progress.records}) == len(progress.records)
        assert all(math.isfinite(record.value) for record in progress.records)


def test_a_wish_to_stop_ends_the_loop_after_that_step_with_records() -> None:
    wishes = iter([False, True])
    steps = list(start(make_state(), should_stop=lambda: next(wishes)))
    assert [(progress.step, progress.stopped, bool(progress.records)) for progress in steps] == [(1, False, False), (2, True, True)]


OF_FINITE_STEPS = ("loss", "loss/contrast", "loss/saliency", "accuracy_percent", "grad_norm", "monitor/saliency_coverage_percent")


def skip(monkeypatch: pytest.MonkeyPatch, *, steps: Container[int]) -> None:
    """Let the loop believe that these steps, from 1, were skipped."""
    honest = loop.train_step

    def poisoned(state: TrainState, *arguments: Any, **options: Any) -> StepResult:
        result = honest(state, *arguments, **options)
        lost = torch.full((), torch.nan)
        return replace(result, skipped=torch.ones(()), loss=lost, grad_norm=lost) if state.step + 1 in steps else result

    monkeypatch.setattr(loop, "train_step", poisoned)


def test_skipped_steps_in_a_row_end_the_run_at_a_log_step(monkeypatch: pytest.MonkeyPatch) -> None:
    skip(monkeypatch, steps=range(1, 7))
    with pytest.raises(TrainingError, match="not finite in 3 steps in a row up to step 3"):
        last_records(make_state())


def test_skipped_steps_in_a_row_are_counted_over_intervals(monkeypatch: pytest.MonkeyPatch) -> None:
    skip(monkeypatch, steps=(3, 4))
    with pytest.raises(TrainingError, match="not finite in 2 steps in a row up to step 6"):
        last_records(make_state())


def test_an_interval_of_skipped_steps_has_no_loss(monkeypatch: pytest.MonkeyPatch) -> None:
    skip(monkeypatch, steps=range(1, 4))
    state = make_state()
    first, second = (progress.records for progress in start(state, settings=replace(LOOP, max_nonfinite=9)) if progress.records)
    lost = {record.name for record in first if math.isnan(record.value)}
    assert lost == set(OF_FINITE_STEPS)
    assert second and all(math.isfinite(record.value) for record in second)
    assert state.counters["nonfinite_steps"] == 3


def test_a_skipped_step_stays_out_of_the_means(monkeypatch: pytest.MonkeyPatch) -> None:
    """Half of the interval's steps at the same weights, so that the mean of what is left is that of any one of them."""
    settings = replace(LOOP, lr=0.0, log_every_steps=4, num_steps=4)
    batches = [make_batch(2, seed=0), make_batch(2, seed=1)] * 4
    whole = last_records(make_state(bank_size=0, norm="group"), settings=settings, batches=iter(batches))
    skip(monkeypatch, steps=(2, 4))
    state = make_state(bank_size=0, norm="group")
    halved = last_records(state, settings=settings, batches=iter(batches))
    assert [halved[name] for name in OF_FINITE_STEPS] == pytest.approx([whole[name] for name in OF_FINITE_STEPS], rel=1e-6)
    assert state.counters["nonfinite_steps"] == 2
