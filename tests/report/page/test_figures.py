"""Figures: the same bytes again, no clash of names, nothing that points outside."""

import re
from dataclasses import replace

from mcdist.records import Record
from mcdist.report.page.figures import class_bars_svg, confusion_svg, curves_svg
from tests.report.fake_run import CLASSES, make_evaluation, make_records

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


def curve_of(svg: str) -> list[list[float]]:
    """The drawn line's pieces, each as its heights on the page."""
    (path,) = re.findall(r'<path d="([^"]*)" fill="none" stroke="#2f7fd1"', svg)
    return [[float(point.split()[1]) for point in piece.split("L")] for piece in path.split("M")[1:]]


def test_a_curve_has_a_gap_where_nothing_is_finite_and_does_not_touch_zero() -> None:
    values = [2.0, 2.0, float("nan"), float("nan"), 2.0, 2.0]
    (svg,) = curves_svg([Record(step=step, name="loss", value=value) for step, value in enumerate(values)])
    first, second = curve_of(svg)
    assert len(set(first + second)) == 1, "one height"


def test_a_long_curve_has_its_gap_too() -> None:
    values = [float("nan") if 600 <= step < 700 else 2.0 for step in range(1200)]
    (svg,) = curves_svg([Record(step=step, name="loss", value=value) for step, value in enumerate(values)])
    assert [len(set(piece)) for piece in curve_of(svg)] == [1, 1]


def test_a_value_between_two_gaps_is_a_dot() -> None:
    values = [float("nan"), 2.0, float("nan"), 3.0]
    (svg,) = curves_svg([Record(step=step, name="loss", value=value) for step, value in enumerate(values)])
    (whole,) = curves_svg([Record(step=step, name="loss", value=2.0) for step in range(4)])
    assert (svg.count("<circle"), whole.count("<circle")) == (2, 0)


def test_every_term_of_the_loss_is_a_line_of_the_first_chart() -> None:
    names = ["loss", "loss/contrast", "loss/saliency", "loss/groups", "loss/views"]
    svg, *others = curves_svg([Record(step=step, name=name, value=1.0) for step in (1, 2) for name in names])
    assert not others
    assert all(f">{label}</text>" in svg for label in ("sum", "contrast", "saliency", "groups", "views"))
    assert len(set(re.findall(r'fill="none" stroke="(#[0-9a-f]{6})"', svg))) == len(names)


def test_the_memory_of_process_and_device_is_one_chart() -> None:
    (svg,) = curves_svg([Record(step=1, name=name, value=1.0, unit="GiB") for name in ("memory_resident_gib", "memory_device_gib")])
    assert "Peak memory (GiB)" in svg and ">process</text>" in svg and ">device</text>" in svg


def test_small_axis_values_keep_their_digits() -> None:
    assert ">0.004</text>" in "".join(curves_svg([Record(step=step, name="lr", value=0.004 * (1 - step / 10)) for step in range(10)]))


def test_bars_hold_both_encoders_and_every_class() -> None:
    svg = class_bars_svg(make_evaluation())
    assert all(f">{name}</text>" in svg for name in (*CLASSES, "trained", "initial backbone"))


def test_the_confusion_is_in_percent_of_its_row() -> None:
    evaluation = make_evaluation(classes=("background", "cat"))
    row = replace(evaluation.rows[4], details={"confusion": [[75, 25], [0, 0]], "class_iou_percent": [1.0, float("nan")]})
    evaluation = replace(evaluation, rows=(row,), headline=0)
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
    assert confusion_svg(replace(evaluation, rows=(replace(evaluation.rows[4], details={}),), headline=0)) == ""


def test_every_point_of_a_chart_is_inside_its_picture() -> None:
    records = [Record(step=step, name="loss", value=(-1) ** step * 10.0**step) for step in range(12)]
    (svg,) = curves_svg(records)
    ((width, height),) = ((float(width), float(height)) for width, height in re.findall(r'viewBox="0 0 ([\d.]+) ([\d.]+)"', svg)[:1])
    (path,) = re.findall(r'<path d="M([^"H]*)" fill="none" stroke="#', svg)
    for point in path.split("L"):
        x, y = (float(number) for number in point.split())
        assert 0 <= x <= width and 0 <= y <= height
