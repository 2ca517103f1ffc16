"""The evaluation's table: right values, right baseline, headline marked."""

from dataclasses import replace
from io import StringIO

import pytest
import rich.console

from mcdist.records import Row, Subject, difference
from mcdist.report.table import baseline_of, caption, evaluation_groups, evaluation_markdown, evaluation_table, headline, mean_and_std
from tests.report.fake_run import make_evaluation


def test_every_row_is_compared_with_the_initial_backbone_of_its_own_group() -> None:
    evaluation = make_evaluation()
    groups = evaluation_groups(evaluation)
    assert [(group.masks, group.protocol) for group in groups] == [
        ("predicted", "maskcontrast-kmeans"),
        ("predicted", "mean-embedding"),
        ("proposals", "mean-embedding"),
    ]
    for group in groups:
        means = {compared.row.subject.encoder: compared.row.mean for compared in group.rows}
        for compared in group.rows:
            encoder = compared.row.subject.encoder
            wanted = None if encoder == "initial backbone" else pytest.approx(means[encoder] - means["initial backbone"])
            assert (compared.difference and compared.difference.mean) == wanted


def test_the_headlines_group_comes_first() -> None:
    evaluation = replace(make_evaluation(), headline=14)
    assert evaluation_groups(evaluation)[0].masks == "proposals"
    assert [compared.row.subject.encoder for group in evaluation_groups(evaluation) for compared in group.rows if compared.is_headline] == ["trained"]


def test_without_an_initial_backbone_there_is_no_difference() -> None:
    evaluation = make_evaluation()
    evaluation = replace(evaluation, rows=evaluation.rows[4:5], headline=0)
    assert baseline_of(evaluation, row=evaluation.rows[0]) is None
    assert evaluation_groups(evaluation)[0].rows[0].difference is None


@pytest.mark.parametrize("place", [-1, 99])
def test_a_headline_that_is_no_row_is_none(place: int) -> None:
    assert headline(replace(make_evaluation(), headline=place)) is None


def test_the_markdown_holds_mean_std_difference_and_a_bold_headline() -> None:
    evaluation = make_evaluation()
    row = evaluation.rows[4]
    found = difference(row, baseline=evaluation.rows[1])
    text = evaluation_markdown(evaluation)
    assert f"| **trained** | **{row.mean:.1f} ± {row.std:.1f}** |  | **5** | **{found.mean:+.1f} ± {found.std:.1f} clear** |" in text
    assert len([line for line in text.splitlines() if line.startswith("|")]) == 17
    assert "437 of 1,449 photos (a subset)" in text


def test_a_hostile_name_breaks_no_markdown() -> None:
    evaluation = make_evaluation(dataset="a|b<script>\nc")
    assert "a\\|b&lt;script> c" in evaluation_markdown(evaluation)


def test_the_terminal_table_shows_every_row() -> None:
    console = rich.console.Console(width=140, record=True, quiet=False, file=StringIO())
    console.print(evaluation_table(make_evaluation()))
    text = console.export_text()
    assert text.count("trained backbone") == 3 and "▸ trained" in text and mean_and_std(make_evaluation().rows[4]) in text


def test_a_whole_data_set_is_no_subset_and_one_seed_has_no_std() -> None:
    evaluation = replace(make_evaluation(), num_photos_in_dataset=437)
    assert "subset" not in caption(evaluation)
    assert "±" not in mean_and_std(replace(evaluation.rows[0], values=(50.0,)))


def test_rows_of_another_metric_have_their_own_group_and_name_it() -> None:
    evaluation = make_evaluation()
    retrieved = Row("retrieval", Subject("trained", "proposals"), "recall", "", (0.5,))
    mixed = replace(evaluation, rows=(*evaluation.rows, retrieved))
    assert [group.metric for group in evaluation_groups(mixed)] == ["mIoU %"] * 3 + ["recall"]
    text = evaluation_markdown(mixed)
    assert "| value |" in text and "| trained | recall 0.500 |  | 1 |  |" in text and "mIoU % 58" in text


def test_the_switches_of_each_protocol_are_below_the_table() -> None:
    console = rich.console.Console(width=140, record=True, quiet=False, file=StringIO())
    console.print(evaluation_table(make_evaluation()))
    assert "maskcontrast-kmeans: pca_dim=32, num_seeds=5" in console.export_text()


def test_rows_of_several_numbers_of_clusters_have_groups_of_their_own_and_name_them() -> None:
    evaluation = make_evaluation()
    start = evaluation.rows[:5]
    of = {
        number: [replace(row, details={**row.details, "num_clusters": number, "matching": matching}) for row in start]
        for number, matching in ((6, "hungarian"), (12, "majority"))
    }
    evaluation = replace(evaluation, rows=(*of[6], *of[12]), headline=4)
    groups = evaluation_groups(evaluation)
    assert [group.clusters for group in groups] == ["K = 6, hungarian", "K = 12, majority"]
    assert baseline_of(evaluation, row=of[12][4]) is of[12][1]
    text = evaluation_markdown(evaluation)
    assert "| predicted | maskcontrast-kmeans, K = 12, majority | trained |" in text
    console = rich.console.Console(width=140, record=True, quiet=False, file=StringIO())
    console.print(evaluation_table(evaluation))
    printed = " ".join(console.export_text().split())
    assert "K = 6, hungarian" in printed and "K = 12, majority" in printed and "clear beyond two standard deviations" in printed


def test_a_group_of_one_row_names_its_clusters_in_it() -> None:
    evaluation = make_evaluation()
    alone = Row("group-segments", Subject("trained"), "mIoU", "%", (40.0,), {"num_clusters": 25, "matching": "majority"})
    console = rich.console.Console(width=140, record=True, quiet=False, file=StringIO())
    console.print(evaluation_table(replace(evaluation, rows=(*evaluation.rows, alone))))
    assert "group-segments" in console.export_text() and "K = 25, majority" in evaluation_markdown(replace(evaluation, rows=(*evaluation.rows, alone)))


def test_a_row_without_any_difference_says_so_without_numbers() -> None:
    evaluation = make_evaluation()
    start = baseline_of(evaluation, row=evaluation.rows[evaluation.headline])
    assert start is not None
    same = replace(start, subject=Subject("trained backbone", masks=start.subject.masks))
    others = tuple(row for row in evaluation.rows if row.subject != same.subject)
    lines = evaluation_markdown(replace(evaluation, rows=(*others, same), headline=0)).splitlines()
    assert [line.split("|")[-2].strip() for line in lines if "| trained backbone |" in line][0] == "equal"
