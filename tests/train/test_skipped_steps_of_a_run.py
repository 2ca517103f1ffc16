"""What a whole run says, keeps and calls best where steps are skipped, with the default norm."""

import math
from collections.abc import Callable, Container, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from mcdist import run
from mcdist.config import Config
from mcdist.config.file import load_config
from mcdist.data.batch import Batch
from mcdist.data.finish import finish
from mcdist.errors import TrainingError
from mcdist.report.jsonl import read_metrics
from mcdist.report.page.html import write_report
from mcdist.run_dir import RunDir, list_checkpoints
from mcdist.train.state import TrainState
from mcdist.types import IMAGENET_MEAN, IMAGENET_STD
from tests.fixture_types import MakeShards
from tests.judged_run import judged

CONFIG = """
data: {num_workers: 0, block: 4, num_lanes: 4}
views: {size_px: 32, max_objects: 2}
model: {backbone: resnet18, num_stages: 3, decoder: linear, embedding_dim: 8, bank_size: 16}
optim: {global_batch: 4, epochs: 2, lr: 0.05}
run: {device: cpu, num_threads: 1}
checkpoint: {every_steps: 1, keep: 2}
report: {mlflow: "off", log_every_steps: 1}
evaluate: {classes: {background: [0], one: [1], two: [2]}, size_px: 64, num_seeds: 2, num_panels: 2, objects: components}
"""


@pytest.fixture
def configure(tmp_path: Path, make_shards: MakeShards) -> Callable[..., Config]:
    """Six steps, each logged and saved."""
    (tmp_path / "config.yaml").write_text(CONFIG)
    given = [f"data.train={(shards := make_shards(12))}", f"data.val={shards}", f"run.dir={tmp_path / 'run'}"]
    return lambda *overrides: load_config(tmp_path / "config.yaml", overrides=[*given, *overrides])


def spoil(monkeypatch: pytest.MonkeyPatch, *, steps: Container[int]) -> None:
    """One photo of both views is not finite in these steps, from 1: as an overflow in a forward pass is, BatchNorm sees it before anybody else."""
    honest = run.train

    def spoilt(number: int, batch: Batch) -> Batch:
        if number not in steps:
            return batch
        batch = finish(batch, mean=IMAGENET_MEAN, std=IMAGENET_STD)
        images = [images.clone() for images in (batch.query_images, batch.key_images)]
        for image in images:
            image[0, 0, 3, 3] = torch.nan
        return replace(batch, query_images=images[0], key_images=images[1])

    def train(state: Any, batches: Iterator[Batch], **settings: Any) -> Iterator:
        return honest(state, (spoilt(number, batch) for number, batch in enumerate(batches, start=1)), **settings)

    monkeypatch.setattr(run, "train", train)


def values(folder: RunDir, name: str) -> dict[int, float]:
    return {record.step: record.value for record in read_metrics(folder.metrics) if record.name == name}


def test_one_overflow_leaves_a_run_that_can_be_evaluated_and_is_told(configure: Callable[..., Config], monkeypatch: pytest.MonkeyPatch) -> None:
    config, folder = configure(), RunDir(Path(configure().run.dir))
    spoil(monkeypatch, steps=(3,))
    assert run.train_run(config) == 0
    (first, last) = list_checkpoints(folder.checkpoints)[-2:]
    state = load_file(last / "state.safetensors")
    assert any(name.endswith("running_var") for name in state)
    assert not [name for name, tensor in state.items() if tensor.is_floating_point() and not tensor.isfinite().all()]
    (line,) = [line for line in folder.log.read_text().splitlines() if "skipped" in line]
    assert "1 step was skipped up to step 3, 1 in this run" in line
    assert [step for step, value in values(folder, "loss").items() if math.isnan(value)] == [3]
    assert list(values(folder, "count/nonfinite_steps").values()) == [0, 0, 1, 1, 1, 1]
    assert '"step": 3, "name": "loss", "value": null' in folder.metrics.read_text()
    assert judged(folder, overrides=[], which="newest").rows
    assert "<svg" in write_report(folder).read_text()


def test_skipped_steps_are_never_the_best_and_a_diverged_run_ends_in_one_sentence(configure: Callable[..., Config], monkeypatch: pytest.MonkeyPatch) -> None:
    config, folder = configure("optim.max_nonfinite=3"), RunDir(Path(configure().run.dir))
    spoil(monkeypatch, steps=range(3, 99))
    with pytest.raises(TrainingError, match="not finite in 3 steps in a row up to step 5; none of them changed the weights"):
        run.train_run(config)
    losses, ranks = values(folder, "loss"), values(folder, "monitor/embedding_rank")
    assert [math.isnan(loss) for loss in losses.values()] == [False, False, True, True]
    assert [math.isnan(rank) for rank in ranks.values()] == [False, False, True, True], "batch statistics make every embedding NaN"
    assert (folder.checkpoints / "best").read_text().strip() in ("step_00000001", "step_00000002")
    kept = load_file(list_checkpoints(folder.checkpoints)[-1] / "state.safetensors")
    assert all(tensor.isfinite().all() for tensor in kept.values() if tensor.is_floating_point())
    assert judged(folder, overrides=[], which="best").step in (1, 2)


def test_a_run_that_is_continued_does_not_tell_old_skips_again(configure: Callable[..., Config], monkeypatch: pytest.MonkeyPatch) -> None:
    folder = RunDir(Path(configure().run.dir))
    with monkeypatch.context() as patch:
        spoil(patch, steps=range(3, 5))
        with pytest.raises(TrainingError):
            run.train_run(configure("optim.max_nonfinite=2"))
    assert run.train_run(configure("optim.max_nonfinite=2")) == 0
    told = [line.partition("warning: ")[2] for line in folder.log.read_text().splitlines() if "skipped" in line]
    assert [line.partition(":")[0] for line in told] == ["1 step was skipped up to step 3, 1 in this run"]


def test_a_learning_rate_far_too_large_is_a_training_error(configure: Callable[..., Config]) -> None:
    with pytest.raises(TrainingError, match=r"lower optim\.lr"):
        run.train_run(configure("optim.lr=1e18", "optim.epochs=12"))


def test_weights_that_hold_a_nan_are_a_training_error(configure: Callable[..., Config], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    honest = run.build.build_state

    def broken(*arguments: Any, **options: Any) -> TrainState:
        state = honest(*arguments, **options)
        next(state.query.parameters()).data[0] = torch.nan
        return state

    monkeypatch.setattr(run.build, "build_state", broken)
    with pytest.raises(TrainingError, match="not finite in 2 steps in a row up to step 2"):
        run.train_run(configure("optim.max_nonfinite=2"))
