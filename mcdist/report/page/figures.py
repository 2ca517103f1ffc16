"""Figures as SVG elements to put into a page: curves of training, IoU of each class, confusion.

Text stays text and uses the page's font; ink is `currentColor` and lines are `var(--line)`, so a figure suits a light and a dark page. Nothing in a
figure refers to anything outside it, and the same input gives the same bytes. The shapes are in `figures.svg.jinja`, their places are computed here.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy
from jinja2 import Environment, StrictUndefined

from mcdist.records import Evaluation, Record, Row
from mcdist.records.object_map import ObjectMap, Projection
from mcdist.report.page.axis import Axis, text_width
from mcdist.report.page.curve import Curve, make_curve
from mcdist.report.palette import BASELINE, TRAINED, class_colours, line_colours
from mcdist.report.table import baseline_of, headline

_SMALL = 11.0
"""Font size of numbers and legends; titles are 13."""


@dataclass(frozen=True, slots=True)
class Chart:
    """One small chart: its title, the records it shows, and what each line is called."""

    title: str
    names: tuple[str, ...]
    labels: tuple[str, ...] = ()
    floor: float | None = None
    """Lowest value of the vertical axis; None lets the data choose."""


@dataclass(frozen=True, slots=True)
class Bar:
    """One bar, from the axis' start to `end`, and what is written behind it."""

    top: float
    thickness: float
    end: float
    text: str
    colour: str


_CHARTS = (
    Chart("Pixels that pick their own object", ("accuracy_percent",), floor=0.0),
    Chart("Cells that name their object's group", ("groups/accuracy_percent",), floor=0.0),
    Chart("Pixels that pick their group's prototype", ("groups/contrast_accuracy_percent",), floor=0.0),
    Chart("Collapse monitor: predicted groups", ("groups/entropy", "groups/largest_share"), ("entropy", "largest share"), floor=0.0),
    Chart("Learning rate", ("lr",), floor=0.0),
    Chart("Gradient norm", ("grad_norm",), floor=0.0),
    Chart("Collapse monitor: embedding rank", ("monitor/embedding_rank",), floor=0.0),
    Chart("Collapse monitor: prototype similarity", ("monitor/prototype_similarity",)),
    Chart("Collapse monitor: saliency coverage", ("monitor/saliency_coverage_percent",), floor=0.0),
    Chart("Memory bank: steps since a row was written", ("monitor/bank_age_max_steps", "monitor/bank_age_mean_steps"), ("oldest", "mean"), floor=0.0),
    Chart("Memory bank: rows in use", ("monitor/bank_fill_percent",), floor=0.0),
    Chart("Images per second", ("images_per_s",), floor=0.0),
    Chart("Time spent waiting for data", ("data_wait_percent",), floor=0.0),
    Chart("Step time", ("step_time_s",), floor=0.0),
    Chart("Page faults per step", ("page_faults_per_step",), floor=0.0),
    Chart("Peak memory", ("memory_resident_gib", "memory_device_gib"), ("process", "device"), floor=0.0),
)

_NOT_DRAWN = ("epoch", "count/redrawn", "count/emptied", "count/dropped_objects", "count/bad_samples", "count/nonfinite_steps")


def curves_svg(records: Sequence[Record]) -> list[str]:
    """One small chart each, in reading order; a record name nobody knows gets its own. A page lays them out in as many columns as it has room for."""
    by_name = _by_name(records)
    return [_curves(chart, by_name) for chart in _all_charts(by_name) if any(name in by_name for name in chart.names)]


def class_bars_svg(evaluation: Evaluation) -> str:
    """IoU of each class: the headline row beside the initial backbone under the same masks and protocol; empty without a headline."""
    quoted = headline(evaluation)
    if quoted is None or not evaluation.classes or "class_iou_percent" not in quoted.details:
        return ""
    series = [(quoted, TRAINED)]
    baseline = baseline_of(evaluation, row=quoted)
    if baseline is not None and baseline is not quoted:
        series.append((baseline, BASELINE))
    left = 12 + max(text_width(name, size=_SMALL) for name in evaluation.classes)
    row = 40 if len(evaluation.classes) <= 12 else 28
    axis = Axis(0.0, 100.0, left, left + 380)
    bottom = 34 + row * len(evaluation.classes)
    return _render(
        "bars",
        width=axis.end + 42,
        height=bottom + 36,
        axis=axis,
        bottom=bottom,
        legend=_legend([(one.subject.encoder, colour) for one, colour in series], left=left),
        classes=[(name, 34 + row * (place + 0.5)) for place, name in enumerate(evaluation.classes)],
        bars=[bar for number, (one, colour) in enumerate(series) for bar in _bars(one, axis=axis, colour=colour, number=number, num=len(series), row=row)],
    )


def confusion_svg(evaluation: Evaluation) -> str:
    """Of the pixels assigned to a class (row), the share in % that truly are of each class (column); empty without a headline's confusion."""
    row = headline(evaluation)
    confusion = [] if row is None else row.details.get("confusion", [])
    if not confusion or not confusion[0]:
        return ""
    counts = numpy.array(confusion, dtype=numpy.float64)
    shares = 100 * counts / numpy.maximum(counts.sum(axis=1, keepdims=True), 1)
    num_rows, num_columns = counts.shape
    cell = min(48.0, max(27.0, 400 / num_columns))
    rows, columns = _named(evaluation.classes, count=num_rows), _named(evaluation.classes, count=num_columns)
    left = 34 + max(text_width(name, size=_SMALL) for name in rows)
    name_length = max(text_width(name, size=_SMALL) for name in columns)
    top = 34 + 0.65 * name_length
    return _render(
        "confusion",
        width=left + cell * num_columns + 0.77 * name_length,
        height=top + cell * num_rows + 8,
        left=left,
        top=top,
        cell=cell,
        rows=rows,
        columns=columns,
        cells=[(row, column, shares[row, column]) for row, column in zip(*numpy.nonzero(shares >= 0.05), strict=True)],
    )


@dataclass(frozen=True, slots=True)
class Measured:
    """One line of a chart of values with their intervals."""

    label: str
    value: float
    interval: tuple[float, float] | None
    colour: str


def intervals_svg(listed: Sequence[Measured], *, title: str, unit: str) -> str:
    """A dot for each value and a bar for its 95 % interval over photos; where no interval is known the dot alone. Empty without values."""
    if not listed:
        return ""
    ends = [end for one in listed for end in (one.value, *(one.interval or ()))]
    room = 0.06 * (max(ends) - min(ends)) or 1.0
    left = 16 + max(text_width(one.label, size=_SMALL) for one in listed)
    axis = Axis(min(ends) - room, max(ends) + room, left, left + 300)
    bottom = 34 + 24 * len(listed)
    digits = 1 if unit == "%" else 3
    return _render(
        "intervals",
        width=axis.end + 48,
        height=bottom + 34,
        axis=axis,
        bottom=bottom,
        title=title,
        unit=unit,
        dots=[(one, 34 + 24 * (place + 0.5), f"{one.value:.{digits}f}") for place, one in enumerate(listed)],
    )


def object_map_svg(found: ObjectMap, *, projection: Projection) -> str:
    """The objects of one projection; a class has its colour and one of four shapes, so that it is recognised without the colour too."""
    size, room = 400.0, 8.0
    across, up = Axis(0.0, 1.0, room, size - room), Axis(0.0, 1.0, size - room, room)
    colours = class_colours(len(found.classes))
    marks: dict[int, list[str]] = {}
    for (x, y), index in zip(projection.points, found.class_of, strict=True):
        marks.setdefault(index, []).append(_mark(index, across.at(x), up.at(y)))
    listed = [(found.classes[index], colours[index], "".join(marks[index])) for index in sorted(marks)]
    title = f"{projection.encoder}, {projection.explained_percent:.0f} % of the variance"
    return _render("scatter", width=size, height=size + 24, title=title, marks=listed)


def _mark(index: int, x: float, y: float) -> str:
    """A disc, a square, a triangle or a diamond."""
    shape = ("m-2.6 0a2.6 2.6 0 1 0 5.2 0a2.6 2.6 0 1 0-5.2 0z", "m-2.3-2.3h4.6v4.6h-4.6z", "m0-3l3 5.2h-6z", "m0-3.3l3.3 3.3l-3.3 3.3l-3.3-3.3z")[index % 4]
    return f"M{x:.1f} {y:.1f}{shape}"


def compared_curves_svg(trainings: Sequence[tuple[str, str, Sequence[Record]]]) -> list[str]:
    """A small chart for each value that any training recorded: a line each of (label, colour, records). The legend has each label once."""
    recorded = [(label, colour, _by_name(records)) for label, colour, records in trainings]
    names = dict.fromkeys(name for _, _, by_name in recorded for name in by_name)
    shown = {name: chart.floor for chart in _all_charts(names) for name in chart.names if name in names}
    titles = {name: chart.title for chart in _all_charts(names) for name in chart.names if len(chart.names) == 1}
    drawn = {name: [(label, colour, by_name[name]) for label, colour, by_name in recorded if name in by_name] for name in shown}
    return [_chart_svg(titles.get(name, name), drawn=drawn[name], floor=floor, with_bands=False) for name, floor in shown.items()]


def _by_name(records: Iterable[Record]) -> dict[str, list[Record]]:
    by_name: dict[str, list[Record]] = {}
    for record in records:
        by_name.setdefault(record.name, []).append(record)
    return by_name


def _all_charts(names: Iterable[str]) -> list[Chart]:
    """Every chart in reading order; a record name nobody knows gets its own."""
    listed = (_loss_chart(names), *_CHARTS)
    known = {name for chart in listed for name in chart.names}
    return [*listed, *(Chart(name, (name,)) for name in names if name not in known and name not in _NOT_DRAWN)]


def _loss_chart(names: Iterable[str]) -> Chart:
    """The sum, then every term that was recorded."""
    terms = [name for name in names if name.startswith("loss/")]
    return Chart("Loss", ("loss", *terms), ("sum", *(name.removeprefix("loss/") for name in terms)), floor=0.0)


def _curves(chart: Chart, by_name: dict[str, list[Record]]) -> str:
    labels, colours = chart.labels or chart.names, line_colours(len(chart.names))
    drawn = [(label, colour, by_name[name]) for name, label, colour in zip(chart.names, labels, colours, strict=True) if name in by_name]
    return _chart_svg(chart.title, drawn=drawn, floor=chart.floor)


def _chart_svg(title: str, *, drawn: Sequence[tuple[str, str, list[Record]]], floor: float | None, with_bands: bool = True) -> str:
    """A chart of (label, colour, records of one name) each."""
    made = [(label, colour, make_curve(records)) for label, colour, records in drawn]
    curves = [curve for _, _, curve in made]
    unit = drawn[0][2][0].unit
    low, high = _vertical_range(curves, floor=floor)
    entries = list(dict.fromkeys((label, colour) for label, colour, _ in made))
    top = 50.0 if len(entries) > 1 else 32.0
    vertical = Axis(low, high, 184.0, top)
    left = 12 + max(text_width(f"{tick:,.4g}", size=_SMALL) for tick in vertical.ticks())
    horizontal = _horizontal(curves, left=left)
    return _render(
        "curves",
        width=374.0,
        height=210.0,
        title=f"{title} ({unit})" if unit else title,
        horizontal=horizontal,
        vertical=vertical,
        legend=_legend(entries, left=left) if len(entries) > 1 else [],
        lines=[
            (colour, _path(curve, horizontal, vertical), _band(curve, horizontal, vertical) if with_bands else "", _dots(curve, horizontal, vertical))
            for _, colour, curve in made
        ],
    )


def _vertical_range(curves: list[Curve], *, floor: float | None) -> tuple[float, float]:
    """The values with a little room; from the floor on, where nothing is below it."""
    values = numpy.concatenate([part for curve in curves for part in (curve.low, curve.high)])
    values = values[numpy.isfinite(values)]
    low, high = (float(values.min()), float(values.max())) if len(values) else (0.0, 1.0)
    room = 0.12 * (high - low) or 0.05 * abs(high) or 1.0
    return (floor if floor is not None and low >= floor else low - room), high + room


def _horizontal(curves: list[Curve], *, left: float) -> Axis:
    first, last = min(curve.steps[0] for curve in curves), max(curve.steps[-1] for curve in curves)
    room = 0.01 * (last - first) or 0.5
    return Axis(float(first - room), float(last + room), left, 368.0)


def _path(curve: Curve, horizontal: Axis, vertical: Axis) -> str:
    return "".join("M" + "L".join(_points(curve.steps[run], curve.values[run], horizontal, vertical)) for run in curve.runs() if run.stop - run.start > 1)


def _band(curve: Curve, horizontal: Axis, vertical: Axis) -> str:
    if not curve.has_band:
        return ""
    there = [_points(curve.steps[run], curve.low[run], horizontal, vertical) for run in curve.runs()]
    back = [_points(curve.steps[run][::-1], curve.high[run][::-1], horizontal, vertical) for run in curve.runs()]
    return "".join(f"M{'L'.join(lower + upper)}Z" for lower, upper in zip(there, back, strict=True))


def _dots(curve: Curve, horizontal: Axis, vertical: Axis) -> list[tuple[float, float]]:
    """Values between two gaps, which no line shows."""
    alone = [run.start for run in curve.runs() if run.stop - run.start == 1]
    return [(horizontal.at(curve.steps[place]), vertical.at(curve.values[place])) for place in alone]


def _points(steps: numpy.ndarray, values: numpy.ndarray, horizontal: Axis, vertical: Axis) -> list[str]:
    return [f"{horizontal.at(step):.1f} {vertical.at(value):.1f}" for step, value in zip(steps, values, strict=True)]


def _legend(entries: list[tuple[str, str]], *, left: float) -> list[tuple[str, str, float]]:
    """Each entry with its place from the left."""
    places = numpy.cumsum([0.0, *(30 + text_width(label, size=_SMALL) for label, _ in entries)]) + left
    return [(label, colour, float(place)) for (label, colour), place in zip(entries, places, strict=False)]


def _bars(quoted: Row, *, axis: Axis, colour: str, number: int, num: int, row: int) -> list[Bar]:
    """The bars of one encoder, of which there are `num`."""
    thickness = 0.78 * row / num
    made = []
    for place, value in enumerate(quoted.details["class_iou_percent"]):
        top = 34 + row * (place + 0.11) + number * thickness
        known = math.isfinite(value)
        made.append(Bar(top, thickness * 0.9, axis.at(value if known else 0.0), f"{value:.0f}" if known else "absent", colour))
    return made


def _named(classes: tuple[str, ...], *, count: int) -> list[str]:
    return [classes[place] if place < len(classes) else f"#{place}" for place in range(count)]


@cache
def _shapes() -> Any:
    text = Path(__file__).with_name("figures.svg.jinja").read_text(encoding="utf-8")
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    environment.filters["at"] = lambda number: f"{number:.1f}"
    environment.globals["TRAINED"] = TRAINED
    return environment.from_string(text).module


def _render(shape: str, **values: Any) -> str:
    return str(getattr(_shapes(), shape)(values))
