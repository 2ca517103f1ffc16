"""Figures as SVG elements to put into a page: curves of training, IoU a class, confusion.

Text stays text and uses the page's font; ink is `currentColor` and lines are `var(--line)`, so a figure suits a light and a dark page. The ids of several figures
in one page do not collide, nothing in a figure refers to anything outside, and the same input gives the same bytes.
"""

import io
import math
import re
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy

from mcdist.errors import MissingExtraError
from mcdist.records import Evaluation, Record, Score
from mcdist.report.palette import BASELINE, TRAINED, line_colours
from mcdist.report.table import baseline_of, headline

_INK, _LINE, _PAPER = "#010203", "#040506", "#070809"
"""Stand-ins that matplotlib writes and `_adapt` exchanges for the page's own colours."""

_STYLE: dict[Any, Any] = {
    "svg.fonttype": "none",
    "svg.hashsalt": "mcdist",
    "text.parse_math": False,
    "axes.unicode_minus": False,
    "font.size": 9.5,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": _LINE,
    "axes.labelcolor": _INK,
    "axes.titlesize": 10.5,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.titlecolor": _INK,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": _LINE,
    "grid.linewidth": 0.7,
    "text.color": _INK,
    "xtick.color": _LINE,
    "ytick.color": _LINE,
    "xtick.labelcolor": _INK,
    "ytick.labelcolor": _INK,
    "legend.frameon": False,
    "legend.labelcolor": _INK,
}

_POINTS_MAX = 120
"""Longer curves are drawn as the means of bins, with a band from their minimum to their maximum."""


@dataclass(frozen=True, slots=True)
class Chart:
    """One small chart: its title, the records it shows, and what each line is called."""

    title: str
    names: tuple[str, ...]
    labels: tuple[str, ...] = ()
    floor: float | None = None
    """Lowest value of the vertical axis; None lets the data choose."""


_CHARTS = (
    Chart("Pixels that pick their own object", ("accuracy_percent",), floor=0.0),
    Chart("Learning rate", ("lr",), floor=0.0),
    Chart("Gradient norm", ("grad_norm",), floor=0.0),
    Chart("Collapse monitor: embedding rank", ("monitor/embedding_rank",), floor=0.0),
    Chart("Collapse monitor: prototype similarity", ("monitor/prototype_similarity",)),
    Chart("Collapse monitor: saliency coverage", ("monitor/saliency_coverage_percent",), floor=0.0),
    Chart("Memory bank: steps since a row was written", ("monitor/bank_age_max_steps", "monitor/bank_age_mean_steps"), ("oldest", "mean"), floor=0.0),
    Chart("Memory bank: rows in use", ("monitor/bank_fill_percent",), floor=0.0),
    Chart("Images a second", ("images_per_s",), floor=0.0),
    Chart("Time spent waiting for data", ("data_wait_percent",), floor=0.0),
    Chart("Step time", ("step_time_s",), floor=0.0),
    Chart("Peak memory", ("memory_resident_gib", "memory_device_gib"), ("process", "device"), floor=0.0),
)

_NOT_DRAWN = ("epoch", "count/redrawn", "count/emptied", "count/dropped_objects", "count/bad_samples", "count/nonfinite_steps")


def curves_svg(records: Sequence[Record]) -> list[str]:
    """One small chart each, in reading order; a record name nobody knows gets its own. A page lays them out in as many columns as it has room for."""
    by_name: dict[str, list[Record]] = {}
    for record in records:
        by_name.setdefault(record.name, []).append(record)
    listed = (_loss_chart(by_name), *_CHARTS)
    known = {name for chart in listed for name in chart.names}
    others = [Chart(name, (name,)) for name in by_name if name not in known and name not in _NOT_DRAWN]
    charts = [chart for chart in (*listed, *others) if any(name in by_name for name in chart.names)]
    return [_curve_svg(chart, by_name, prefix=f"curve{place}") for place, chart in enumerate(charts)]


def _loss_chart(names: Iterable[str]) -> Chart:
    """The sum, then every term that was recorded."""
    terms = [name for name in names if name.startswith("loss/")]
    return Chart("Loss", ("loss", *terms), ("sum", *(name.removeprefix("loss/") for name in terms)), floor=0.0)


def class_bars_svg(evaluation: Evaluation) -> str:
    """IoU of each class: the headline row beside the initial backbone under the same masks and protocol; empty without a headline."""
    score = headline(evaluation)
    if score is None or not evaluation.classes:
        return ""
    series = [(score.encoder, TRAINED, score)]
    baseline = baseline_of(evaluation, score=score)
    if baseline is not None and baseline is not score:
        series.append((baseline.encoder, BASELINE, baseline))
    with _figure(width=5.4, height=0.9 + (0.44 if len(evaluation.classes) <= 12 else 0.32) * len(evaluation.classes)) as (figure, rendered):
        _draw_bars(figure.add_subplot(), classes=evaluation.classes, series=series)
    return _adapt(rendered[0], prefix="bars")


def confusion_svg(evaluation: Evaluation) -> str:
    """Of the pixels given to a class (row), the share in % that truly are of each class (column); empty without a headline's confusion."""
    score = headline(evaluation)
    if score is None or not score.confusion or not score.confusion[0]:
        return ""
    counts = numpy.array(score.confusion, dtype=numpy.float64)
    shares = 100 * counts / numpy.maximum(counts.sum(axis=1, keepdims=True), 1)
    cell = min(0.56, max(0.3, 4.4 / counts.shape[1]))
    with _figure(width=1.3 + cell * counts.shape[1], height=1.2 + cell * counts.shape[0]) as (figure, rendered):
        _draw_confusion(figure.add_subplot(), shares=shares, classes=evaluation.classes)
    return _adapt(rendered[0], prefix="confusion")


def _curve_svg(chart: Chart, by_name: dict[str, list[Record]], *, prefix: str) -> str:
    with _figure(width=3.9, height=2.2) as (figure, rendered):
        axes = figure.add_subplot()
        labels = chart.labels or chart.names
        for name, label, colour in zip(chart.names, labels, line_colours(len(chart.names)), strict=True):
            if name in by_name:
                _draw_curve(axes, by_name[name], label=label, colour=colour)
        unit = next(by_name[name][0].unit for name in chart.names if name in by_name)
        axes.set_title(f"{chart.title} ({unit})" if unit else chart.title, pad=8)
        axes.margins(x=0.01, y=0.12)
        if chart.floor is not None and axes.dataLim.y0 >= chart.floor:
            axes.set_ylim(bottom=chart.floor)
        num_drawn = sum(name in by_name for name in chart.names)
        if num_drawn > 1:
            axes.legend(loc="upper right", ncols=num_drawn, fontsize=8.5, handlelength=1.1, columnspacing=1.1, borderaxespad=0)
        _quiet_axes(axes)
    return _adapt(rendered[0], prefix=prefix)


def _draw_curve(axes: Any, records: list[Record], *, label: str, colour: str) -> None:
    """Where no value is finite the line has a gap; a value between two gaps is a dot."""
    steps = numpy.array([record.step for record in records], dtype=numpy.float64)
    values = numpy.array([record.value for record in records], dtype=numpy.float64)
    values[~numpy.isfinite(values)] = numpy.nan
    if len(steps) > _POINTS_MAX:
        bins = numpy.array_split(numpy.arange(len(steps)), _POINTS_MAX)
        low, high = (numpy.array([_of_finite(bound, values[part]) for part in bins]) for bound in (numpy.min, numpy.max))
        steps, values = (numpy.array([_of_finite(numpy.mean, of[part]) for part in bins]) for of in (steps, values))
        axes.fill_between(steps, low, high, color=colour, alpha=0.18, linewidth=0)
    axes.plot(steps, values, color=colour, linewidth=1.6, label=label)
    known = numpy.pad(numpy.isfinite(values), 1)
    alone = known[1:-1] & ~known[:-2] & ~known[2:]
    if alone.any():
        axes.plot(steps[alone], values[alone], color=colour, linewidth=0, marker="o", markersize=4)


def _of_finite(measure: Callable[[numpy.ndarray], float], values: numpy.ndarray) -> float:
    """measure(the finite values); NaN without one."""
    finite = values[numpy.isfinite(values)]
    return float(measure(finite)) if len(finite) else math.nan


def _quiet_axes(axes: Any) -> None:
    axes.grid(visible=False, axis="x")
    axes.spines["left"].set_visible(False)
    axes.tick_params(length=0, labelsize=8.5)
    axes.locator_params(axis="x", nbins=5)
    axes.locator_params(axis="y", nbins=5)
    axes.xaxis.set_major_formatter(lambda step, _: f"{step:,.0f}")
    axes.yaxis.set_major_formatter(lambda value, _: f"{value:,.4g}")


def _draw_bars(axes: Any, *, classes: tuple[str, ...], series: list[tuple[str, str, Score]]) -> None:
    thickness = 0.78 / len(series)
    places = numpy.arange(len(classes))
    for number, (label, colour, score) in enumerate(series):
        values = numpy.array(score.class_iou_percent, dtype=numpy.float64)
        offset = places[: len(values)] + (number - (len(series) - 1) / 2) * thickness
        axes.barh(offset, numpy.nan_to_num(values), height=thickness * 0.9, color=colour, label=label, linewidth=0)
        for y, value in zip(offset, values, strict=True):
            axes.text((value if math.isfinite(value) else 0) + 1, y, f"{value:.0f}" if math.isfinite(value) else "absent", va="center", fontsize=8.5)
    axes.set_yticks(places, classes)
    axes.set_ylim(len(classes) - 0.45, -0.55)
    axes.set_xlim(0, 100)
    axes.set_xlabel("IoU %", fontsize=9)
    axes.grid(visible=False, axis="y")
    axes.tick_params(length=0)
    axes.spines[["left", "bottom"]].set_visible(False)
    axes.legend(loc="lower left", bbox_to_anchor=(0, 1.0), ncols=2, handlelength=1, handleheight=0.9, borderaxespad=0.2)


def _draw_confusion(axes: Any, *, shares: numpy.ndarray, classes: tuple[str, ...]) -> None:
    """A cell is blue with the share as its opacity, so that it fits any ground."""
    from matplotlib.patches import Rectangle

    num_rows, num_columns = shares.shape
    for row, column in zip(*numpy.nonzero(shares >= 0.05), strict=True):
        share = shares[row, column]
        axes.add_patch(Rectangle((column + 0.03, row + 0.03), 0.94, 0.94, facecolor=TRAINED, alpha=min(1.0, 0.04 + share / 100), linewidth=0))
        text = f"{share:.0f}" if share >= 0.5 else "·"
        axes.text(column + 0.5, row + 0.52, text, ha="center", va="center", fontsize=8.5, color=_PAPER if share > 55 else _INK)
    axes.set_xlim(0, num_columns)
    axes.set_ylim(num_rows, 0)
    axes.set_aspect("equal")
    axes.set_xticks(numpy.arange(num_columns) + 0.5, _named(classes, count=num_columns), rotation=40, ha="left", rotation_mode="anchor")
    axes.set_yticks(numpy.arange(num_rows) + 0.5, _named(classes, count=num_rows))
    axes.xaxis.tick_top()
    axes.set_ylabel("predicted class", fontsize=9)
    axes.set_xlabel("true class, % of the row", fontsize=9)
    axes.grid(visible=False)
    axes.tick_params(length=0)
    axes.spines[["left", "bottom"]].set_visible(False)


def _named(classes: tuple[str, ...], *, count: int) -> list[str]:
    return [classes[place] if place < len(classes) else f"#{place}" for place in range(count)]


@contextmanager
def _figure(*, width: float, height: float) -> Iterator[tuple[Any, list[str]]]:
    """A figure to draw on, in inches, and a list that holds its SVG after the block. No pyplot: nothing global is left behind."""
    try:
        import matplotlib
        from matplotlib.backends.backend_svg import FigureCanvasSVG
        from matplotlib.figure import Figure
    except ImportError as error:
        raise MissingExtraError("the report's figures need matplotlib, which is not installed; run: pip install matplotlib") from error
    rendered: list[str] = []
    with matplotlib.rc_context(_STYLE), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a class name in a script matplotlib's font lacks; the page's font draws it
        figure = Figure(figsize=(width, height), layout="constrained")
        FigureCanvasSVG(figure)
        figure.patch.set_visible(False)
        yield figure, rendered
        for axes in figure.axes:
            axes.patch.set_visible(False)
        content = io.StringIO()
        figure.savefig(content, format="svg", metadata={"Date": None, "Creator": None, "Format": None, "Type": None})
        rendered.append(content.getvalue())


def _adapt(svg: str, *, prefix: str) -> str:
    """matplotlib's file as an element of a page: no prolog, no outside names, own ids, the page's colours and font."""
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>|<!--.*?-->|<style.*?</style>", "", svg, flags=re.DOTALL)
    svg = re.sub(r'(?: d| x| y|transform)="[^"]*"', lambda found: re.sub(r"(\d\.\d\d)\d+", r"\1", found.group(0)), svg)
    svg = re.sub(r' xmlns(:\w+)?="[^"]*"', "", svg).replace("xlink:href", "href")
    svg = re.sub(r'(\bid="|url\(#|href="#)', rf"\g<1>{prefix}-", svg)
    svg = re.sub(r"<svg([^>]*?) width=\"[^\"]*\"", r"<svg\1", svg, count=1)
    svg = re.sub(r"<svg([^>]*?) height=\"([\d.]+)pt\"", r'<svg role="img"\1', svg, count=1)
    svg = svg.replace(_INK, "currentColor").replace(_LINE, "var(--line, #d5dae1)").replace(_PAPER, "#ffffff")
    return re.sub(r"(font(?:-family)?): [^;\"]*(?:sans-serif|DejaVu)[^;\"]*", _page_font, svg)


def _page_font(found: re.Match[str]) -> str:
    size = re.search(r"[\d.]+px", found.group(0))
    weight = "font-weight: 600; " if "bold" in found.group(0) or " 700 " in found.group(0) else ""
    return f"{weight}font-size: {size.group(0)}; font-family: inherit" if size else "font-family: inherit"
