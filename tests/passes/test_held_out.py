"""A training that is judged on held-out photos: not a bit of it changes, the best checkpoint follows the score, and labels are named where they are read."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch

from mcdist import run
from mcdist.config import Config
from mcdist.config.file import load_config
from mcdist.disk.checkpoint import best_checkpoint
from mcdist.errors import ConfigError, DataError
from mcdist.passes.held_out import HeldOut
from mcdist.records import Record
from mcdist.report.jsonl import read_metrics
from mcdist.report.table import caption
from mcdist.run_dir import RunDir
from mcdist.workflows.evaluation import evaluate_run
from tests.fixture_types import ShardsAt
from tests.makers.stopped_run import last_state, stop_after

pytest.importorskip("faiss")

SMALL = """
data: {num_workers: 0, block: 4, num_lanes: 4}
views: {size_px: 32, max_objects: 2}
model: {backbone: resnet18, num_stages: 3, decoder_width: 8, atrous_rates: [1, 2], embedding_dim: 8, bank_size: 16, momentum: 0.9}
optim: {global_batch: 4, epochs: 2, lr: 0.05}
run: {device: cpu, deterministic: true, num_threads: 1}
checkpoint: {every_steps: 2, keep: 1}
report: {mlflow: "off", log_every_steps: 2}
evaluate: {classes: {background: [0], one: [1], two: [2]}, size_px: 64, num_clusters: 2, num_seeds: 2, every_photos: 6}
"""
EVERY = "evaluate.every=2"
BY_LABELS = "evaluate.every_by=mean-embedding"

Configure = Callable[..., Config]


@pytest.fixture(autouse=True)
def _restore_determinism() -> Iterator[None]:
    yield
    torch.use_deterministic_algorithms(False)


@pytest.fixture
def configure(tmp_path: Path, shards_at: ShardsAt) -> Configure:
    """Six steps over twelve photos, and eight others."""
    (tmp_path / "small.yaml").write_text(SMALL)
    train, val = shards_at(tmp_path / "train", 12), shards_at(tmp_path / "val", 8)

    def make(*overrides: str, folder: str = "run") -> Config:
        given = {"data.train": train, "data.val": val, "run.dir": tmp_path / folder} | dict(override.split("=", 1) for override in overrides)
        return load_config(tmp_path / "small.yaml", overrides=[f"{key}={value}" for key, value in given.items()])

    return make


def scores(config: Config, name: str) -> dict[int, float]:
    return {record.step: record.value for record in read_metrics(RunDir(Path(config.run.dir)).metrics) if record.name == f"held_out/{name}"}


@pytest.mark.parametrize("by", ["silhouette", "mean-embedding"])
def test_not_a_bit_of_the_training_changes(configure: Configure, by: str) -> None:
    plain, judged = configure(), configure(EVERY, f"evaluate.every_by={by}", folder="judged")
    assert run.train_run(plain) == 0
    assert run.train_run(judged) == 0
    wanted, found = last_state(plain.run.dir), last_state(judged.run.dir)
    assert wanted.keys() == found.keys()
    assert all(torch.equal(found[name], tensor) for name, tensor in wanted.items())
    assert list(scores(judged, "silhouette" if by == "silhouette" else "miou_percent")) == [2, 4, 6]
    assert not scores(plain, "silhouette")


def test_the_log_says_whether_labels_were_read(configure: Configure) -> None:
    by_clusters, by_labels = configure(EVERY), configure(EVERY, BY_LABELS, folder="labels")
    for config in (by_clusters, by_labels):
        run.train_run(config)
    logs = [RunDir(Path(config.run.dir)).log.read_text() for config in (by_clusters, by_labels)]
    assert f"(silhouette by clusters, without a label, of 6 photos of {by_clusters.data.val})" in logs[0]
    assert f"(miou by the labels of 6 photos of {by_labels.data.val})" in logs[1]
    assert all(0 <= value <= 100 for value in scores(by_labels, "miou_percent").values())


def test_the_best_checkpoint_follows_the_score_over_a_stop_and_a_start(configure: Configure, monkeypatch: pytest.MonkeyPatch) -> None:
    worth = {2: 0.1, 4: 0.9, 6: 0.5}
    monkeypatch.setattr(HeldOut, "score", lambda self, state: [Record(state.step, "held_out/silhouette", worth[state.step], "")])
    config = configure(EVERY, "checkpoint.best_by=held_out")
    with pytest.MonkeyPatch.context() as patch:
        stop_after(patch, 5)
        assert run.train_run(config) == 143
    assert run.train_run(config) == 0
    best = best_checkpoint(RunDir(Path(config.run.dir)).checkpoints)
    assert best is not None and best.name == "step_00000004"
    assert json.loads((best / "meta.json").read_text())["held_out"] == 0.9


@pytest.mark.parametrize(
    ("overrides", "which", "said"),
    [
        ((EVERY, "checkpoint.best_by=held_out", BY_LABELS), "best", "(chosen by mean-embedding on 6 photos of VAL, which reads the labels)"),
        ((EVERY, "checkpoint.best_by=held_out"), "best", "(chosen by silhouette on 6 photos of VAL, which reads no label)"),
        ((), "best", "(chosen by the training loss)"),
        ((), "newest", ""),
    ],
)
def test_the_table_says_by_what_its_checkpoint_was_chosen(configure: Configure, overrides: tuple[str, ...], which: str, said: str) -> None:
    config = configure(*overrides)
    assert run.train_run(config) == 0
    evaluation = evaluate_run(RunDir(Path(config.run.dir)), overrides=[], which=which, protocols=["mean-embedding"])
    assert evaluation is not None
    assert caption(evaluation).partition("(chosen")[1:] == ("", "") if not said else said.replace("VAL", config.data.val) in caption(evaluation)


def test_a_slice_that_cannot_be_judged_is_a_warning_and_the_training_goes_on(configure: Configure, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(self: HeldOut, state: object) -> list[Record]:
        raise DataError("photo 3 is damaged")

    monkeypatch.setattr(HeldOut, "score", fail)
    config = configure(EVERY)
    assert run.train_run(config) == 0
    assert "the held-out photos were not judged after step 4: photo 3 is damaged" in RunDir(Path(config.run.dir)).log.read_text()


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ([EVERY, "data.val="], "evaluate.every=2 needs photos that the training does not see: set data.val, got none"),
        ([EVERY, "data.val=here", "data.train=here"], "data.val is data.train"),
        ([EVERY, BY_LABELS, "evaluate.classes={}"], "evaluate.every_by=mean-embedding needs evaluate.classes, got none"),
        (["checkpoint.best_by=held_out"], r"checkpoint.best_by=held_out needs evaluate.every > 0, got 0"),
        (["evaluate.every=-1"], "evaluate.every"),
        ([EVERY, "evaluate.every_by=loss"], r"evaluate.every_by .* must be one of silhouette, mean-embedding"),
    ],
)
def test_what_does_not_fit_is_one_sentence(configure: Configure, overrides: list[str], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        configure(*overrides)
