"""The page of a comparison: one self-contained file with the settings' scores, their paired differences, curves and configurations."""

from markupsafe import Markup

from mcdist.records.names import BASELINE
from mcdist.report.comparison import Comparison, Line, difference_cell
from mcdist.report.page import figures
from mcdist.report.page.figures import Measured
from mcdist.report.page.templates import template
from mcdist.report.palette import line_colours
from mcdist.report.table import clusters_text, interval_text, mean_and_std, metric_label


def comparison_page(comparison: Comparison) -> str:
    """The page as HTML."""
    lines = comparison.lines
    colours = line_colours(len(comparison.settings))
    return template("compare.html.jinja").render(
        comparison=comparison,
        lines=lines,
        groups=_groups(lines),
        colours=colours,
        chart=Markup(_chart(comparison, lines=lines, colours=colours)),
        curves=[Markup(svg) for svg in _curves(comparison, colours=colours)],
        mean_and_std=mean_and_std,
        interval_text=interval_text,
        difference_cell=difference_cell,
        BASELINE=BASELINE,
    )


def _groups(lines: tuple[Line, ...]) -> list[tuple[str, str, list[Line]]]:
    """(masks, protocol and metric, lines) of the rows that differ by the encoder alone."""
    groups: dict[tuple[str, str], list[Line]] = {}
    for line in lines:
        row = line.any_row
        what = " · ".join(filter(None, (row.protocol, clusters_text(row), str(row.details.get("pooling", "")), metric_label(row))))
        groups.setdefault((row.subject.masks, what), []).append(line)
    return [(masks, what, members) for (masks, what), members in groups.items()]


def _chart(comparison: Comparison, *, lines: tuple[Line, ...], colours: tuple[str, ...]) -> str:
    """The rows of the headline's group, setting by setting, with their intervals."""
    quoted = next((line for line in lines if line.is_headline), None)
    if quoted is None:
        return ""
    group = next(members for _, _, members in _groups(lines) if quoted in members)
    several = not comparison.is_of_one_setting
    listed = [
        Measured(f"{setting.name}: {row.subject.encoder}" if several else row.subject.encoder, row.mean, row.interval, colour)
        for line in group
        for setting, row, colour in zip(comparison.settings, line.rows, colours, strict=True)
        if row is not None
    ]
    row = quoted.any_row
    return figures.intervals_svg(listed, title=f"{row.metric}, {row.protocol}, {row.subject.masks or 'whole photos'}", unit=row.unit)


def _curves(comparison: Comparison, *, colours: tuple[str, ...]) -> list[str]:
    trainings = [(setting.name, colour, one.records) for setting, colour in zip(comparison.settings, colours, strict=True) for one in setting.trainings]
    return figures.compared_curves_svg(trainings)
