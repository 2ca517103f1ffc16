"""Figures: the same bytes again, no clash of names, nothing that points outside."""

import re
from dataclasses import replace

from fake_run import CLASSES, make_evaluation, make_records

from mcdist.records import Record
from mcdist.report.figures import class_bars_svg, confusion_svg, curves_svg

RECORDS = [record for record in make_records(num_steps=200) if record.name in ("loss", "loss/contrast", "lr", "data_wait_percent", "epoch")]


def test_figures_are_the_same_bytes_again() -> None:
    evaluation = make_evaluation()
    assert curves_svg(RECORDS) == curves_svg(RECORDS)
    assert class_bars_svg(evaluation) == class_bars_svg(evaluation)
    assert confusion_svg(evaluation) == confusion_svg(evaluation)


def test_no_id_appears_twice_in_a_page_and_every_reference_is_inside_it() -> None:
    page = "".join([*curves_svg(RECORDS), class_bars_svg(make_evaluation()), confusion_svg(make_evaluation())])
    ids = re.findall(r'\bid="([^"]*)"', page)
    assert len(ids) == len(set(ids))
    assert set(re.findall(r'(?:url\(|href=")#([^")]*)', page)) <= set(ids)
    assert "http" not in page and "<?xml" not in page and "<!DOCTYPE" not in page


def test_an_unknown_record_gets_its_own_chart() -> None:
    known = len(curves_svg(RECORDS))
    svgs = curves_svg([*RECORDS, Record(step=10, name="new/thing", value=1.0, unit="px")])
    assert len(svgs) == known + 1 and "new/thing (px)" in svgs[-1]


def test_no_records_are_no_charts_and_values_that_are_not_finite_are_left_out() -> None:
    assert curves_svg([]) == []
    assert "nan" not in "".join(curves_svg([Record(step=step, name="loss", value=value) for step, value in enumerate([1.0, float("nan"), float("inf"), 2.0])]))
    assert len(curves_svg([Record(step=1, name="loss", value=float("nan"))])) == 1


def test_small_axis_values_keep_their_digits() -> None:
    assert ">0.004</text>" in "".join(curves_svg([Record(step=step, name="lr", value=0.004 * (1 - step / 10)) for step in range(10)]))


def test_bars_hold_both_encoders_and_every_class() -> None:
    svg = class_bars_svg(make_evaluation())
    assert all(f">{name}</text>" in svg for name in (*CLASSES, "trained", "initial backbone"))


def test_the_confusion_is_in_percent_of_its_row() -> None:
    evaluation = make_evaluation(classes=("background", "cat"))
    score = replace(evaluation.scores[4], confusion=((75, 25), (0, 0)), class_iou_percent=(1.0, float("nan")))
    evaluation = replace(evaluation, scores=(score,), headline=0)
    svg = confusion_svg(evaluation)
    assert ">75</text>" in svg and ">25</text>" in svg
    assert ">absent</text>" in class_bars_svg(evaluation)


def test_hostile_class_names_are_escaped_and_no_mathematics() -> None:
    evaluation = make_evaluation(classes=("background", "<script>alert(1)</script>", "$\\frac{$", "--><b>", "猫"))
    for svg in (class_bars_svg(evaluation), confusion_svg(evaluation)):
        assert "<script" not in svg and "<b>" not in svg and "猫" in svg


def test_no_headline_or_no_confusion_is_no_figure() -> None:
    evaluation = make_evaluation()
    assert class_bars_svg(replace(evaluation, headline=-1)) == "" == confusion_svg(replace(evaluation, headline=-1))
    assert confusion_svg(replace(evaluation, scores=(replace(evaluation.scores[4], confusion=()),), headline=0)) == ""
