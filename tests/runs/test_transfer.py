"""Evaluations beyond a run's own photos: probes fitted on others, judging on another data set, and a backbone without a run."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from mcdist import run
from mcdist.cli.main import app
from mcdist.config.file import load_config
from mcdist.records import Evaluation
from mcdist.run_dir import RunDir
from tests.fixture_types import MembersOf, ShardsAt
from tests.makers.many_ranks import free_port
from tests.runs.test_evaluation import SMALL

OTHER = "background: null\nclasses:\n  two: [2]\n  one: [1]\n"


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory, shards_at: ShardsAt) -> RunDir:
    """A run of one step on eight photos, and beside it a description of its classes without background."""
    root = tmp_path_factory.mktemp("transfer")
    (root / "small.yaml").write_text(SMALL)
    (root / "other.yaml").write_text(OTHER)
    shards = shards_at(root / "shards", 8)
    settings = [f"data.train={shards}", f"data.val={shards}", f"run.dir={root / 'run'}", "evaluate.limit=4", "optim.global_batch=8"]
    assert run.train_run(load_config(root / "small.yaml", overrides=settings)) == 0
    return RunDir(root / "run")


def mcdist(*words: object) -> Result:
    return CliRunner().invoke(app, [str(word) for word in words])


def read(folder: RunDir) -> Evaluation:
    return Evaluation.from_json(folder.evaluation.read_text(), where="here")


def test_probes_are_fitted_on_other_photos_and_the_table_says_which(trained: RunDir) -> None:
    shards = trained.root.parent / "shards"
    protocols = [word for name in ("maskcontrast-linear-fast", "maskcontrast-retrieval-21/clean") for word in ("--protocol", name)]
    result = mcdist("evaluate", trained.root, "--train-shards", shards, "evaluate.train_limit=6", *protocols)
    assert result.exit_code == 0, result.output
    found = read(trained)
    assert found.settings["fitted on"] == f"6 of 8 (a subset) photos of {shards}"
    assert "probes fitted on" in " ".join(result.output.split())
    assert {row.protocol for row in found.rows} == {"maskcontrast-linear-fast", "maskcontrast-retrieval-21/clean"}
    assert found.rows[0].subject.encoder == "trained decoder" and found.rows[found.headline].protocol == "maskcontrast-linear-fast"
    assert len(list(trained.features.iterdir())) == 2, "a store of the judged photos and one of the others"


@pytest.mark.slow
def test_two_ranks_judge_on_other_data_sets_as_one_process_does(trained: RunDir, tmp_path: Path) -> None:
    root = trained.root.parent
    command = ["--protocol", "mean-embedding", "--transfer", f"{root / 'shards'}={root / 'other.yaml'}"]
    found = []
    for name, launcher in (
        ("alone", [sys.executable]),
        ("both", [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", "--master-port", str(free_port())]),
    ):
        shutil.copytree(trained.root, tmp_path / name, ignore=shutil.ignore_patterns("features", "transfer"))
        words = [*launcher, "-m", "mcdist", "evaluate", str(tmp_path / name), *command]
        done = subprocess.run(words, capture_output=True, text=True, timeout=400, stdin=subprocess.DEVNULL)
        assert done.returncode == 0, done.stdout + done.stderr
        assert done.stdout.count("report: ") == 2
        (folder,) = (tmp_path / name / "transfer").iterdir()
        found.append([read(one).rows for one in (RunDir(tmp_path / name), RunDir(folder))])
    assert found[0] == found[1]


def test_one_command_judges_on_other_data_sets_too(trained: RunDir) -> None:
    root = trained.root.parent
    before = len(list(trained.features.iterdir()))
    result = mcdist("evaluate", trained.root, "--protocol", "mean-embedding", "--transfer", f"{root / 'shards'}={root / 'other.yaml'}")
    assert result.exit_code == 0, result.output
    (folder,) = (trained.root / "transfer").iterdir()
    other, own = read(RunDir(folder)), read(trained)
    assert own.classes == ("background", "one", "two") and other.classes == ("no class", "two", "one")
    assert "for 1 steps" in RunDir(folder).report.read_text() and str(folder / "report.html") in result.output.replace("\n", "")
    assert len(list(trained.features.iterdir())) <= before + 1, "the same photos are embedded once"


def test_a_backbone_is_judged_without_a_run(trained: RunDir, tmp_path: Path) -> None:
    shards = trained.root.parent / "shards"
    settings = ["evaluate.size_px=64", "evaluate.batch=2", "evaluate.num_seeds=2", f"evaluate.classes={trained.root.parent / 'other.yaml'}", "run.device=cpu"]
    protocols = [word for name in ("maskcontrast-kmeans", "object-graph", "maskcontrast-linear-fast") for word in ("--protocol", name)]
    words = ["--backbone", "resnet18:none", "--shards", shards, "--out", tmp_path / "out", "--train-shards", shards, *protocols]
    result = mcdist("evaluate", *settings, *words)
    assert result.exit_code == 0, result.output
    found = read(RunDir(tmp_path / "out"))
    assert {row.subject.encoder for row in found.rows} == {"backbone", "random labels", "random vectors", "upper bound"}
    assert {row.subject.masks for row in found.rows} == {"proposals", "true", ""}
    assert found.rows[found.headline].subject.encoder == "backbone"
    assert (tmp_path / "out" / "report.html").is_file()
    page = (tmp_path / "out" / "report.html").read_text()
    assert "The backbone <b>resnet18:none</b> as it was published; nothing was trained." in page and "trained without labels" not in page
    assert "Probes and memories were fitted on 8 photos of" in page
    assert "resnet18:none, probes fitted on 8 photos" in " ".join(result.output.split()) and found.settings["backbone"] == "resnet18:none"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--protocol", "maskcontrast-linear-fast"], "is fitted on other photos with ground truth; name their shards with --train-shards DIR"),
        (
            ["--protocol", "mean-embedding", "--train-shards", "SHARDS"],
            "none of mean-embedding is fitted on the photos of .*; choose a protocol that is, such as --protocol maskcontrast-linear",
        ),
        (["--transfer", "SHARDS"], "--transfer must be DIR=CLASSES, such as shards/msrc/val=msrc_v2, got"),
        (["--shards", "SHARDS"], "--shards and --out are for --backbone"),
        (["--protocol", "mean-embedding", "evaluate.classes=voc_animal"], "one of camvid11, .*; did you mean 'voc_animals'"),
    ],
)
def test_what_does_not_fit_together_is_refused_in_one_sentence(trained: RunDir, words: list[str], said: str) -> None:
    result = mcdist("evaluate", trained.root, *(word.replace("SHARDS", str(trained.root.parent / "shards")) for word in words))
    assert result.exit_code == 2
    assert re.search(said, result.output), result.output


def test_probes_on_an_unlabelled_run_are_refused_for_the_lack_of_truth(trained: RunDir, shards_at: ShardsAt, members_of: MembersOf, tmp_path: Path) -> None:
    plain = shards_at(tmp_path / "plain", 8, members_of=lambda index: {name: content for name, content in members_of(index).items() if name != "seg.png"})
    result = mcdist("evaluate", trained.root, "--train-shards", "nowhere", f"data.val={plain}")
    assert result.exit_code == 2
    assert re.search(f"on --train-shards nowhere and judged on {plain}, which holds no ground truth to judge them by; name shards that do", result.output)


def test_a_backbone_needs_photos_and_an_evaluation_needs_a_subject(trained: RunDir) -> None:
    assert "name their shards: --shards DIR" in mcdist("evaluate", "--backbone", "resnet18:none").output
    assert "needs the folder of a run, or --backbone NAME" in mcdist("evaluate").output
    shards = trained.root.parent / "shards"
    assert "is the folder of a run" in mcdist("evaluate", "--backbone", "resnet18:none", "--shards", shards, "--out", trained.root).output
