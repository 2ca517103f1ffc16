"""A reproduction from a VOC folder to a verdict: a tiny table of rows, each verdict once, nothing done twice, and one sentence for what is wrong."""

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from mcdist.cli.main import app
from mcdist.config.file import load_run_config
from mcdist.records import Evaluation
from mcdist.reproduction.rows import read_paper_table
from mcdist.run_dir import RunDir
from mcdist.workflows import reproduction
from tests.makers.tiny_voc import tiny_voc

CONFIG = """
views: {size_px: 32, max_objects: 1}
model: {backbone: resnet18, num_stages: 3, decoder_width: 8, atrous_rates: [1, 2, 3], embedding_dim: 8, bank_size: 8}
optim: {global_batch: 4, epochs: 1}
data: {num_lanes: 4, num_workers: 0}
evaluate: {size_px: 64, num_seeds: 1, num_panels: 0, pca_dim: 4, classes: {background: [0], one: [1], two: [2]}}
report: {console: 'off', mlflow: 'off'}
run: {device: cpu, num_threads: 1}
"""

ROW = "{line: a line, training: tiny, kind: kmeans, protocol: maskcontrast-kmeans, masks: predicted, from: nowhere"
RETRIEVAL = ROW.replace("kind: kmeans", "kind: exact").replace("maskcontrast-kmeans", "maskcontrast-retrieval-21/clean").replace("predicted", "proposals")
TABLE = f"""
source: a test
costs: {{train_gflop: 1.0, evaluate_gflop: 2.0, measured_gflops: 100.0}}
data:
  voc:
    masks: [supervised, unsupervised_saliency]
    train: {{split: trainaug, photos: 8, keep_empty: false}}
    probe: {{split: trainaug, photos: 8, keep_empty: true}}
    memory: {{split: train, photos: 6, keep_empty: true}}
    val: {{split: val, photos: 6, keep_empty: true}}
trainings:
  tiny: {{config: tiny, data: voc, settings: [optim.lr=0.01]}}
small: {{training: [model.embedding_dim=4], evaluation: [evaluate.limit=4]}}
tolerances: {{kmeans: 60.0, exact: 0.001}}
departures: {{kmeans: [another clustering]}}
rows:
  near: {ROW}, paper: 50.0}}
  far: {ROW}, paper: -40.0}}
  unknown: {ROW}, paper: null}}
  absent: {ROW}, paper: 50.0, encoder: trained decoder}}
  silent: {ROW}, paper: 50.0, unjudged: the paper does not say how}}
  retrieval: {RETRIEVAL}, paper: 50.0, fitted_on: memory}}
"""


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of the table, of VOC and of one finished row."""
    root = tmp_path_factory.mktemp("reproduced")
    (root / "tiny.yaml").write_text(CONFIG)
    (root / "rows.yaml").write_text(TABLE)
    tiny_voc(root / "voc", splits={"trainaug": 8, "train": 6, "val": 6})
    assert "verdict agrees" in reproduce(root, "near")
    return root


def reproduce(root: Path, *words: str, code: int = 0, data: str = "voc", out: str = "out") -> str:
    arguments = ["reproduce", *words, "--data", str(root / data), "--out", str(root / out), "--table", str(root / "rows.yaml")]
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == code, result.output
    return result.output


@pytest.fixture
def judged(world: Path, monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """What evaluations were asked for; each is answered with the one that the world has, since all that counts here is whether one was needed."""
    asked: list[dict[str, Any]] = []
    known = Evaluation.from_json(evaluation_of(world).read_text(), where="the world's")

    def answer(run_dir: RunDir, **given: Any) -> Evaluation:
        asked.append({"run": run_dir.root, **given})
        return known

    monkeypatch.setattr(reproduction, "evaluate_run", answer)
    return asked


def evaluation_of(world: Path) -> Path:
    return RunDir(world / "out" / "trainings" / "tiny" / "seed_0").transferred("maskcontrast-kmeans").evaluation


def test_a_row_is_trained_judged_and_agrees_within_its_tolerance(world: Path) -> None:
    found = json.loads((world / "out" / "results" / "near.json").read_text())
    assert (found["word"], found["paper"], found["tolerance"], found["reduced"]) == ("agrees", 50.0, 60.0, [])
    evaluation = Evaluation.from_json(evaluation_of(world).read_text(), where="the world's")
    assert found["values"] == [evaluation.rows[evaluation.headline].mean] and evaluation.step == 2


def test_another_row_of_the_same_training_trains_and_judges_nothing_and_differs(world: Path, judged: list[dict[str, Any]]) -> None:
    checkpoints = world / "out" / "trainings" / "tiny" / "seed_0" / "checkpoints"
    before = {path: path.stat().st_mtime_ns for path in checkpoints.rglob("*")}
    printed = reproduce(world, "far")
    assert "verdict differs: " in printed and "one training, whose spread is not known" in printed
    assert "paper   -40.0 mIoU (a test; nowhere)" in printed and "differs another clustering" in printed
    assert {path: path.stat().st_mtime_ns for path in checkpoints.rglob("*")} == before and not judged


def test_a_line_that_the_evaluation_says_nothing_about_cannot_be_judged(world: Path) -> None:
    printed = reproduce(world, "absent")
    assert "verdict cannot be judged: the evaluation has no row of maskcontrast-kmeans for trained decoder under predicted; it has: " in printed
    assert json.loads((world / "out" / "results" / "absent.json").read_text())["values"] == []


def test_an_evaluation_that_is_half_a_file_is_made_again(world: Path, judged: list[dict[str, Any]]) -> None:
    whole = evaluation_of(world).read_text()
    evaluation_of(world).write_text(whole[:100])
    try:
        assert "verdict agrees" in reproduce(world, "near")
    finally:
        evaluation_of(world).write_text(whole)
    assert [one["protocols"] for one in judged] == [("maskcontrast-kmeans",)]


def test_each_seed_is_a_training_of_its_own(world: Path, judged: list[dict[str, Any]]) -> None:
    assert "over 2 trainings" in reproduce(world, "near", "--seeds", "2")
    assert [one["run"].name for one in judged] == ["seed_1"]
    assert load_run_config(RunDir(world / "out" / "trainings" / "tiny" / "seed_1")).run.seed == 1


@pytest.mark.parametrize(("row", "reason"), [("unknown", "the paper's number is not in the table (nowhere)"), ("silent", "the paper does not say how")])
def test_a_row_that_cannot_be_judged_says_why_and_trains_nothing(world: Path, row: str, reason: str) -> None:
    assert f"verdict cannot be judged: {reason}" in reproduce(world, row, out=f"out_{row}")
    assert not (world / f"out_{row}" / "trainings").exists()


def test_a_setting_of_the_experiment_makes_a_reduced_run_and_one_of_speed_does_not(world: Path) -> None:
    plan = reproduce(world, "near", "--plan", "optim.lr=0.02")
    assert "REDUCED RUN, not the paper's row, and never compared with it: optim.lr: 0.01 -> 0.02" in plan
    assert "REDUCED" not in reproduce(world, "near", "--plan", "data.num_workers=1", "evaluate.batch=4")


def test_a_plan_has_the_steps_the_photos_and_the_time_and_makes_nothing(world: Path) -> None:
    plan = reproduce(world, "retrieval", "--plan", "--seeds", "3", out="planned")
    assert "shards, memory: " in plan and "to be built of train.txt: 6 photos" in plan and "shards, probe" not in plan
    assert "training, seed 2: 2 steps of 4 photos, 1 epochs" in plan
    assert "arithmetic: 0.0 PFLOP of training (24 photos)" in plan and "at 100 GFLOP/s" in plan
    assert not (world / "planned").exists()


@pytest.mark.slow
def test_a_protocol_that_is_fitted_on_labelled_photos_gets_them(world: Path) -> None:
    printed = reproduce(world, "retrieval")
    assert "memory: 6 photos" in printed and ("verdict differs" in printed or "verdict agrees" in printed)


def test_fewer_photos_are_refused_and_a_reduced_run_is_called_one_and_never_compared(world: Path, judged: list[dict[str, Any]]) -> None:
    tiny_voc(world / "fewer", splits={"trainaug": 8, "val": 5})
    refused = reproduce(world, "near", data="fewer", out="few", code=3)
    assert "val has 5 photos, the paper's val 6" in refused and "--small" in refused
    printed = reproduce(world, "near", "--small", data="fewer", out="few")
    assert "REDUCED RUN of near, not the paper's row" in printed
    reason = "this is a reduced run: --small, in which 2 settings are not the row's; val has 5 photos, the paper's val 6"
    assert f"verdict cannot be judged: {reason}" in printed and len(judged) == 1
    assert len(json.loads((world / "few" / "results" / "near.json").read_text())["reduced"]) == 2


def test_shards_that_are_there_are_taken(world: Path) -> None:
    (world / "ready").mkdir()
    (world / "ready" / "voc").symlink_to(world / "out" / "shards" / "voc")
    plan = reproduce(world, "near", "--plan", data="ready", out="other")
    assert f"shards, train: {world / 'ready' / 'voc' / 'train'} (8 photos, there)" in plan


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["nera"], "unknown row 'nera' of the paper; did you mean 'near'"),
        (["near", "run.seed=3"], "mcdist reproduce sets run.seed itself"),
        (["near", "optim.lrr=1"], "unknown key 'optim.lrr'"),
    ],
)
def test_what_cannot_be_done_is_one_sentence(world: Path, words: list[str], message: str) -> None:
    assert message in reproduce(world, *words, code=2)


def test_several_ranks_are_told_how_to_train(world: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"RANK": "0", "WORLD_SIZE": "2", "MASTER_ADDR": "localhost", "MASTER_PORT": "2000"}.items():
        monkeypatch.setenv(name, value)
    assert "torchrun -m mcdist train" in reproduce(world, "near", code=2)


def test_a_folder_without_photos_is_named(world: Path) -> None:
    assert "expected shards in" in reproduce(world, "near", code=3, data="nothing", out="elsewhere")


def test_the_papers_rows_are_listed() -> None:
    listed = CliRunner().invoke(app, ["reproduce", "--list"]).output
    assert all(name in listed for name in read_paper_table().rows)
