"""mcdist compare: runs sorted into settings, their differences paired, in every format."""

import csv
import io
import json
import re
from pathlib import Path

import pytest

from mcdist.cli.main import main
from mcdist.config.config import Config
from mcdist.config.file import dump_config, load_config
from mcdist.errors import ConfigError
from mcdist.records import Record
from mcdist.report.comparison import comparison_text
from mcdist.report.jsonl import MetricsFile
from mcdist.report.page.compare import comparison_page
from mcdist.run_dir import RunDir
from mcdist.workflows.comparing import compare_runs, format_for
from tests.records_world import make_evaluation


def make_run(folder: Path, *, trained: float, start: float = 40.0, seed: int = 0, settings: tuple[str, ...] = (), **evaluation: object) -> Path:
    """An evaluated run with a few records."""
    run_dir = RunDir(folder).create()
    run_dir.config.write_text(dump_config(Config()))
    config = load_config(run_dir.config, overrides=[f"run.seed={seed}", f"run.dir={folder}", *settings])
    run_dir.config.write_text(dump_config(config))
    with MetricsFile(run_dir.metrics, after_step=0) as metrics:
        metrics.write([Record(step=step, name=name, value=1.0 / step) for step in (1, 2, 3) for name in ("loss", "loss/contrast", "lr")])
    run_dir.evaluation.write_text(make_evaluation(trained, start, **evaluation).to_json())  # type: ignore[arg-type]
    return folder


@pytest.fixture
def runs(tmp_path: Path) -> list[Path]:
    """Two trainings of one setting and two of another, in no order."""
    return [
        make_run(tmp_path / "base_1", trained=51, seed=1),
        make_run(tmp_path / "wide_0", trained=55, seed=0, settings=("model.embedding_dim=64",)),
        make_run(tmp_path / "base_0", trained=50, seed=0),
        make_run(tmp_path / "wide_1", trained=57, seed=1, settings=("model.embedding_dim=64",)),
    ]


def test_runs_that_differ_by_the_seed_alone_are_trainings_of_one_setting(runs: list[Path]) -> None:
    found = compare_runs(runs)
    assert [(setting.name, [one.name for one in setting.trainings]) for setting in found.settings] == [
        ("base", ["base_0", "base_1"]),
        ("wide", ["wide_0", "wide_1"]),
    ]
    assert found.config_differences == {"model.embedding_dim": ("32", "64")} and found.notes == ()
    line = found.lines[0]
    assert line.is_headline and [row.values for row in line.rows if row is not None] == [(50.0, 51.0), (55.0, 57.0)]
    (difference,) = line.differences
    assert difference is not None and (difference.mean, difference.std, difference.word) == (5.5, 0.5, "clear")


def test_one_setting_is_compared_with_its_frozen_start(runs: list[Path]) -> None:
    found = compare_runs([runs[0], runs[2]])
    assert found.is_of_one_setting and found.difference_headings == ("vs initial backbone",)
    assert [None if line.differences[0] is None else line.differences[0].mean for line in found.lines] == [10.5, None]


def test_every_format_holds_the_numbers(runs: list[Path]) -> None:
    found = compare_runs(runs)
    markdown = comparison_text(found, form="markdown")
    assert "| predicted | maskcontrast-kmeans, K = 2, hungarian | trained | mIoU % | 50.5 ± 0.5 [" in markdown and "+5.5 ± 0.5 [5.5, 5.5] clear |" in markdown
    latex = comparison_text(found, form="latex")
    assert r"mIoU \% & 50.5 $\pm$ 0.5 [" in latex and latex.count(r" \\") == 3 and latex.rstrip().endswith(r"\end{tabular}")
    rows = list(csv.DictReader(io.StringIO(comparison_text(found, form="csv"))))
    content = json.loads(comparison_text(found, form="json"))
    assert content["format"] == "mcdist comparison 1" and content["config_differences"] == {"model.embedding_dim": ["32", "64"]}
    assert [(row["setting"], float(row["mean"]), row["difference"]) for row in rows[:2]] == [("base", 50.5, ""), ("wide", 56.0, "5.5")]
    assert [row["mean"] for row in content["rows"]] == [float(row["mean"]) for row in rows]


def test_what_makes_numbers_less_comparable_is_said(tmp_path: Path) -> None:
    base = make_run(tmp_path / "base", trained=50)
    found = compare_runs([base, make_run(tmp_path / "other", trained=52, settings=("evaluate.pca_dim=8",), photos="q" * 64)])
    assert found.notes == ("other was not judged on the same photos as base, or one of the two by an earlier mcdist: not paired by photo",)
    assert found.lines[0].differences[0] is not None and found.lines[0].differences[0].interval is None
    again = compare_runs([base, make_run(tmp_path / "base_again", trained=50, step=20)])
    assert again.is_of_one_setting
    assert again.notes == ("base: trainings were judged after steps 10, 20", "base: trainings share a seed (0, 0), so their spread says little")


def test_a_row_that_a_setting_lacks_is_left_empty(tmp_path: Path) -> None:
    first = make_run(tmp_path / "a", trained=50)
    found = compare_runs([first, make_run(tmp_path / "b", trained=52, settings=("optim.lr=0.5",), protocol="object-graph")])
    assert [[row is None for row in line.rows] for line in found.lines] == [[False, True]] * 2 + [[True, False]] * 2
    assert "–" in comparison_page(found)


def test_what_cannot_be_compared_is_one_sentence(tmp_path: Path, runs: list[Path]) -> None:
    with pytest.raises(ConfigError, match="base_1 is given twice"):
        compare_runs([runs[0], runs[0]])
    with pytest.raises(ConfigError, match="expected a run at .*nowhere"):
        compare_runs([tmp_path / "nowhere"])
    RunDir(runs[0]).evaluation.unlink()
    with pytest.raises(ConfigError, match="base_1 is not evaluated: there is no evaluation.json; run: mcdist evaluate"):
        compare_runs(runs)


@pytest.mark.parametrize(
    ("name", "out", "expected"),
    [("", None, "table"), ("", "a.md", "markdown"), ("", "a.tex", "latex"), ("csv", "a.txt", "csv"), ("", "a.html", "html"), ("json", None, "json")],
)
def test_the_format_is_as_named_or_as_the_file_is_called(name: str, out: str | None, expected: str) -> None:
    assert format_for(name, out=Path(out) if out else None) == expected


@pytest.mark.parametrize(
    ("name", "out", "message"),
    [
        ("xml", None, "--format must be one of table, markdown"),
        ("", "a.xyz", "--out must end in one of .md, .tex"),
        ("html", None, "needs a file"),
        ("table", "a", "terminal"),
    ],
)
def test_another_format_is_refused(name: str, out: str | None, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        format_for(name, out=Path(out) if out else None)


def test_the_command_prints_or_writes(runs: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    paths = [str(run) for run in runs]
    for arguments in ([], ["--format", "markdown"], ["--out", str(tmp_path / "page.html")]):
        with pytest.raises(SystemExit) as leaving:
            main(["compare", *paths, *arguments])
        assert leaving.value.code == 0
    printed = capsys.readouterr().out
    assert "wide - base" in printed and "| masks | protocol |" in printed and f"comparison: {tmp_path / 'page.html'}" in printed
    page = (tmp_path / "page.html").read_text()
    assert page.count("<svg") == 4 and "Where the configurations differ" in page and "model.embedding_dim" in page
    assert not re.search(r"https?:|@import|<script|<link|<iframe", page)


def test_hostile_names_are_escaped(tmp_path: Path) -> None:
    run = make_run(tmp_path / "<script>alert(1)<", trained=50, protocol="<script>", settings=("data.val=<script>x",))
    page = comparison_page(compare_runs([run, make_run(tmp_path / "b", trained=50, settings=("optim.lr=0.5",))]))
    assert "<script" not in page and "&lt;script&gt;" in page
