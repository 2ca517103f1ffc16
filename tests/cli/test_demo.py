"""mcdist demo: what it refuses before it does anything, that it goes on where it was stopped, and that it equals the three commands it stands for."""

import json
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from mcdist.cli.main import app

TINY = ["optim.epochs=1", "optim.global_batch=8", "data.num_lanes=8", "views.size_px=32", "run.num_threads=1", "evaluate.size_px=32", "evaluate.num_seeds=1"]
SIZES = ["--num-train", "16", "--num-val", "12", "--workers", "1"]


def _mcdist(*arguments: object) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


@pytest.mark.parametrize("override", ["data.train=x", "data.val=x", "run.dir=x"])
def test_its_folders_are_chosen_by_out_alone(override: str, tmp_path: Path) -> None:
    done = _mcdist("demo", "--out", tmp_path / "demo", override)
    assert done.exit_code == 2 and f"the demo's folders are chosen with --out DIR, got {override}" in done.output
    assert not (tmp_path / "demo").exists()


def test_a_wrong_setting_is_refused_before_anything_is_built(tmp_path: Path) -> None:
    done = _mcdist("demo", "--out", tmp_path / "demo", "optim.lrr=1")
    assert done.exit_code == 2 and "did you mean 'optim.lr'" in done.output
    assert not (tmp_path / "demo").exists()


def test_without_faiss_it_stops_before_anything_is_built(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "faiss", None)
    done = _mcdist("demo", "--out", tmp_path / "demo")
    assert done.exit_code == 6 and "pip install 'mcdist[faiss-cpu]'" in done.output
    assert not (tmp_path / "demo").exists()


@pytest.mark.slow
def test_it_is_the_three_commands_in_one_and_goes_on_when_given_again(tmp_path: Path) -> None:
    first = _mcdist("demo", "--out", tmp_path / "demo", *SIZES, *TINY)
    assert first.exit_code == 0, first.output
    assert f"report: {tmp_path}/demo/run/report.html" in first.output
    again = _mcdist("demo", "--out", tmp_path / "demo", *SIZES, *TINY)
    assert again.exit_code == 0 and "complete already" in again.output and "is trained: 2 of 2 steps" in again.output

    data, run = tmp_path / "data", tmp_path / "run"
    assert _mcdist("shards", "build", "demo", "--out", data, *SIZES).exit_code == 0
    assert _mcdist("train", "demo", f"data.train={data}/train", f"data.val={data}/val", f"run.dir={run}", *TINY).exit_code == 0
    assert _mcdist("evaluate", run).exit_code == 0
    assert (data / "train" / "manifest.json").read_bytes() == (tmp_path / "demo" / "data" / "train" / "manifest.json").read_bytes()
    assert _rows(run) == _rows(tmp_path / "demo" / "run")


def _rows(run: Path) -> object:
    return json.loads((run / "evaluation.json").read_text())["rows"]
