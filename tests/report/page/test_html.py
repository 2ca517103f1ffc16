"""report.html: one file, self-contained, escaped, made from whatever the run folder holds."""

import json
import re
import shutil
from dataclasses import replace
from pathlib import Path

import numpy
import pytest

from mcdist.errors import DataError
from mcdist.groups.file import write_groups
from mcdist.groups.find import find_groups
from mcdist.groups.graph.rows import ArrayRows
from mcdist.groups.record import Groups, Source
from mcdist.groups.settings import GroupSettings
from mcdist.records import Subject
from mcdist.report.page.html import write_report
from mcdist.report.pictures.retrieved import ShownRetrieved, save_retrieved
from mcdist.run_dir import RunDir
from tests.report.fake_run import make_evaluation, make_run, make_start


def test_the_report_holds_headline_table_pictures_curves_and_the_run(fake_run: RunDir) -> None:
    page = write_report(fake_run).read_text()
    row = make_evaluation().rows[4]
    assert f"{row.mean:.1f}<small> ± {row.std:.1f} %</small>" in page
    assert page.count("data:image/webp;base64,") == 3
    assert page.count("<svg") == 16
    for text in (
        "437 of the 1,449 photos",
        "Intel Xeon Platinum 8481C",
        "mcdist train configs/voc_animals.yaml",
        "torch 2.14.1",
        "e114e73",
        "412",
        "global_batch: 64",
    ):
        assert text in page


def test_the_report_fetches_nothing(fake_run: RunDir) -> None:
    page = write_report(fake_run).read_text()
    assert not re.search(r"https?:|//\w+\.|@import|<script|<link|<iframe", page)
    sources = re.findall(r'src="([^"]*)"', page)
    assert sources and [source for source in sources if not source.startswith("data:image/webp;base64,")] == []


def test_hostile_names_are_escaped_everywhere(fake_run: RunDir) -> None:
    hostile = "<script>alert(1)</script>\"'"
    evaluation = make_evaluation(classes=("background", *[f"{hostile}{place}" for place in range(6)]), dataset=hostile)
    rows = tuple(replace(row, subject=Subject(hostile, hostile), protocol=hostile) for row in evaluation.rows)
    fake_run.evaluation.write_text(
        replace(evaluation, rows=rows, protocols={hostile: {hostile: hostile}}, settings={hostile: hostile}, mask_iou_percent={hostile: 1.0}).to_json()
    )
    fake_run.config.write_text(f"data:\n  train: {json.dumps(hostile)}\nmodel: {{backbone: {json.dumps(hostile)}}}\n")
    fake_run.environment.write_text(json.dumps([{**make_start(), "command": hostile, hostile: {hostile: hostile}}]))
    with fake_run.metrics.open("a") as file:
        file.write(json.dumps({"step": 1, "name": hostile, "value": 1.0, "unit": hostile}) + "\n")
        file.write(json.dumps({"step": 1, "name": f"count/{hostile}", "value": 1.0, "unit": hostile}) + "\n")
    (fake_run.panels / "07_<script>alert(1)<.png").write_bytes(b"png")
    page = write_report(fake_run).read_text()
    assert "<script" not in page and "&lt;script&gt;" in page


def test_a_run_without_evaluation_says_how_to_evaluate(tmp_path: Path) -> None:
    page = write_report(make_run(tmp_path / "run", with_evaluation=False)).read_text()
    assert "mcdist evaluate RUN" in page and page.count("<svg") == 14 and "data:image" not in page


def test_an_empty_folder_has_a_report_too(tmp_path: Path) -> None:
    page = write_report(RunDir(tmp_path)).read_text()
    assert "No metrics were recorded" in page and "environment.json is missing" in page


@pytest.mark.parametrize("starts", [{}, [], [{}], ["odd"], [{"versions": "odd", "memory_gib": "much"}], make_start(), [make_start()] * 3])
def test_missing_and_odd_facts_about_the_machine_are_tolerated(tmp_path: Path, starts: object) -> None:
    (tmp_path / "environment.json").write_text(json.dumps(starts))
    assert "This run" in write_report(RunDir(tmp_path)).read_text()


@pytest.mark.parametrize("text", ["", "]", "- a", "data: 3", "a: !!python/object:os.system {}"])
def test_a_configuration_that_is_none_is_shown_as_text(tmp_path: Path, text: str) -> None:
    (tmp_path / "config.yaml").write_text(text)
    assert "An encoder" in write_report(RunDir(tmp_path)).read_text()


@pytest.mark.parametrize(("name", "content"), [("environment.json", b"{"), ("evaluation.json", b"{"), ("config.yaml", b"\xff"), ("metrics.jsonl", b"{\n")])
def test_a_damaged_file_is_an_error_that_names_it(tmp_path: Path, name: str, content: bytes) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError, match=name):
        write_report(RunDir(tmp_path))
    assert not (tmp_path / "report.html").exists()


@pytest.mark.parametrize("case", ["no rows", "no baseline", "the baseline itself", "no headline"])
def test_an_evaluation_without_rows_or_baselines_is_shown(tmp_path: Path, case: str) -> None:
    evaluation = make_evaluation()
    rows = {"no rows": (), "no baseline": evaluation.rows[4:5], "the baseline itself": evaluation.rows[1:2], "no headline": evaluation.rows}[case]
    (tmp_path / "evaluation.json").write_text(replace(evaluation, rows=rows, headline=-1 if case == "no headline" else 0).to_json())
    assert "Every row" in write_report(RunDir(tmp_path)).read_text()


def test_the_switches_of_each_protocol_are_on_the_page(fake_run: RunDir) -> None:
    page = write_report(fake_run).read_text()
    assert "<dt>maskcontrast-kmeans</dt><dd>pca_dim=32, num_seeds=5</dd>" in page
    assert "mean-embedding · mIoU %" in page


def test_an_evaluation_of_an_earlier_mcdist_says_how_to_write_it_again(fake_run: RunDir) -> None:
    fake_run.evaluation.write_text('{"step": 3, "scores": []}')
    with pytest.raises(DataError, match="schema version 1, this mcdist reads 2 and 3; write it again with: mcdist evaluate RUN"):
        write_report(fake_run)


def test_the_headlines_gain_is_told_with_its_spread_and_in_one_word(fake_run: RunDir) -> None:
    page = write_report(fake_run).read_text()
    assert re.search(r'<p class="gain"><span class="up">\+1\d\.\d ± \d\.\d</span> points against the initial backbone: clear</p>', page)


def test_retrieved_objects_say_in_words_whether_they_are_right(fake_run: RunDir) -> None:
    assert "Retrieved objects" not in write_report(fake_run).read_text()
    photo = numpy.zeros((20, 20, 3), dtype=numpy.uint8), (0.0, 0.0, 1.0, 1.0)
    save_retrieved([ShownRetrieved(photo, "cat", [(photo, "cat"), (photo, "<b>")]), ShownRetrieved(photo, "cow", [(photo, "dog")])], fake_run.retrieved)
    page = write_report(fake_run).read_text()
    assert "<b>cat</b> · ✓ right · 1 of the 2 nearest are of its class" in page
    assert "<b>cow</b> · ✗ wrong, predicted as dog · 0 of the 1 nearest are of its class" in page
    assert 'alt="an object of the class cat; the classes of the nearest ones: cat, &lt;b&gt;"' in page


def test_what_training_changed_is_shown_by_neighbours_and_rounds(fake_run: RunDir) -> None:
    assert "What training changed" not in write_report(fake_run).read_text()
    fake_run.neighbours.mkdir()
    (fake_run.neighbours / "object_001.png").write_bytes(b"png")
    vectors = numpy.random.default_rng(0).normal(size=(40, 4)).astype(numpy.float32)
    for place, num_groups in enumerate(((2, 3), (3,))):
        grouping = find_groups([ArrayRows(vectors)], settings=GroupSettings(neighbours=(5,), num_groups=num_groups, num_subsamples=2 * place))
        write_groups(Groups(source=Source("a" * 64, "objects", ("vectors/x",)), grouping=grouping), folder=fake_run.groups / f"round_{place:02d}" / "groups")
    page = write_report(fake_run).read_text()
    assert page.count("data:image/webp;base64,") == 3 and page.count("data:image/png;base64,") == 1  # what is no picture is passed on as it is
    assert "object 1 and its nearest objects before and after training" in page
    assert "<th>round</th>" in page and "each round of its own graph" in page
    assert re.findall(r'<tr><td>(\d)</td><td class="number">(\d)</td><td class="number">5</td><td class="number">40</td>', page) == [
        ("1", "2"),
        ("1", "3"),
        ("2", "3"),
    ]
    shutil.rmtree(fake_run.groups / "round_01")
    page = write_report(fake_run).read_text()
    assert "<th>round</th>" not in page and "each round" not in page  # a column in which every line says 1 says nothing
    assert re.findall(r'<tr><td class="number">(\d)</td><td class="number">5</td><td class="number">40</td>', page) == ["2", "3"]


def test_damaged_groups_are_an_error_that_names_them(fake_run: RunDir) -> None:
    folder = fake_run.groups / "round_00" / "groups"
    folder.mkdir(parents=True)
    (folder / "groups.json").write_text("{")
    with pytest.raises(DataError, match="round_00/groups/groups.json is damaged"):
        write_report(fake_run)
