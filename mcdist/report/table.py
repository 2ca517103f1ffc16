"""The table of an evaluation: rows with their difference to the initial backbone, for the terminal, for Markdown and for the report."""

from dataclasses import dataclass
from typing import Any

from rich import box
from rich.table import Table

from mcdist.records import Difference, Evaluation, Row, difference
from mcdist.records.names import BASELINE, SILHOUETTE
from mcdist.records.trainings import Key, group_key

MEANING = (
    f"vs {BASELINE}: mean ± standard deviation of the seeds' differences, [95 % over photos]; clear beyond two standard deviations and with an interval "
    "without 0"
)


@dataclass(frozen=True, slots=True)
class Compared:
    """A row beside its baseline. `difference`: seed by seed over the group's initial backbone, None for that row or without one."""

    row: Row
    difference: Difference | None
    is_headline: bool


@dataclass(frozen=True, slots=True)
class Group:
    """The rows that may be compared: same masks, same protocol, same metric, same number of clusters.

    `clusters`: `K = 12, majority`: how many and how they were matched to classes, empty where nothing was clustered.
    """

    masks: str
    protocol: str
    clusters: str
    metric: str
    rows: tuple[Compared, ...]


def evaluation_groups(evaluation: Evaluation) -> tuple[Group, ...]:
    """The rows by masks, protocol, metric and number of clusters, in the order they were measured; the headline's group first."""
    quoted = headline(evaluation)
    keys = list(dict.fromkeys(group_key(row) for row in evaluation.rows))
    keys.sort(key=lambda key: quoted is None or key != group_key(quoted))
    return tuple(_group(evaluation, key=key) for key in keys)


def headline(evaluation: Evaluation) -> Row | None:
    """The row to quote; None where the evaluation has none."""
    return evaluation.rows[evaluation.headline] if 0 <= evaluation.headline < len(evaluation.rows) else None


def baseline_of(evaluation: Evaluation, *, row: Row) -> Row | None:
    """The initial backbone's row of the same masks, protocol and metric, if it was measured."""
    return next((other for other in evaluation.rows if group_key(other) == group_key(row) and other.subject.encoder == BASELINE), None)


def metric_label(row: Row) -> str:
    """`mIoU %`; without a unit the metric alone."""
    return f"{row.metric} {row.unit}".strip()


def evaluation_table(evaluation: Evaluation) -> Table:
    """The table for a terminal; the headline is marked with an arrow. Without ground truth: the clusters' measures."""
    if not evaluation.has_truth:
        return _clusters_table(evaluation)
    table = _table(evaluation)
    table.add_column("masks")
    table.add_column("protocol", overflow="fold")
    table.add_column("encoder")
    table.add_column(_value_heading(evaluation), justify="right")
    table.add_column("95 % over photos", justify="right")
    table.add_column("seeds", justify="right")
    table.add_column(f"vs {BASELINE}", justify="right")
    table.caption = f"{MEANING}\n{table.caption}"
    for group in evaluation_groups(evaluation):
        for place, compared in enumerate(group.rows):
            first = (group.masks if place == 0 else "", _heading(group, place=place))
            style = "bold green" if compared.is_headline else ""
            table.add_row(*first, *_cells(compared, mark="▸ ", evaluation=evaluation), style=style, end_section=place == len(group.rows) - 1)
    return table


def cluster_rows(evaluation: Evaluation) -> list[Row]:
    """The rows of clusters without ground truth."""
    return [row for row in evaluation.rows if row.metric == SILHOUETTE]


def switches_text(switches: dict[str, Any]) -> str:
    """The switches of a protocol in one line."""
    return ", ".join(f"{name}={value}" for name, value in switches.items())


def _table(evaluation: Evaluation) -> Table:
    lines = [f"{name}: {switches_text(switches)}" for name, switches in evaluation.protocols.items()]
    return Table(
        box=box.ROUNDED,
        title=caption(evaluation),
        title_justify="left",
        title_style="bold",
        header_style="bold cyan",
        border_style="bright_black",
        caption="\n".join(lines),
        caption_justify="left",
    )


def _clusters_table(evaluation: Evaluation) -> Table:
    table = _table(evaluation)
    for name in ("masks", "vectors", "encoder"):
        table.add_column(name, overflow="fold")
    for name in ("objects", "silhouette", "agreement between seeds", "largest cluster", "smallest"):
        table.add_column(name, justify="right")
    quoted = headline(evaluation)
    for row in cluster_rows(evaluation):
        details = row.details
        sizes = (f"{details['sizes'][0]:,}", f"{details['sizes'][-1]:,}") if details["sizes"] else ("", "")
        cells = (f"{details['num_objects']:,}", f"{row.mean:.3f}", f"{details['agreement']:.2f}", *sizes)
        encoder = f"▸ {row.subject.encoder}" if row is quoted else row.subject.encoder
        table.add_row(row.subject.masks, details["pooling"], encoder, *cells, style="bold green" if row is quoted else "")
    return table


def evaluation_markdown(evaluation: Evaluation) -> str:
    """The table in GitHub's Markdown, the headline in bold, the caption below."""
    lines = [f"| masks | protocol | encoder | {_value_heading(evaluation)} | 95 % over photos | seeds | vs {BASELINE} |", "|---|---|---|---:|---:|---:|---:|"]
    for group in evaluation_groups(evaluation):
        for compared in group.rows:
            protocol = ", ".join(filter(None, (group.protocol, group.clusters)))
            cells = [_escaped(cell) for cell in (group.masks, protocol, *_cells(compared, mark="", evaluation=evaluation))]
            lines.append("| " + " | ".join(f"**{cell}**" if compared.is_headline and cell else cell for cell in cells) + " |")
    return "\n".join([*lines, "", _escaped(caption(evaluation)), ""])


def caption(evaluation: Evaluation) -> str:
    """What was evaluated, in one line: data set, photos, step; a subset is called one."""
    subset = evaluation.num_photos < evaluation.num_photos_in_dataset
    photos = f"{evaluation.num_photos:,} of {evaluation.num_photos_in_dataset:,} photos (a subset)" if subset else f"{evaluation.num_photos:,} photos"
    what = f"{len(evaluation.classes)} classes" if evaluation.has_truth else f"no ground truth, {len(evaluation.classes) - 1} clusters"
    subject = evaluation.settings.get("backbone") or f"after step {evaluation.step:,}"
    fitted = f", probes fitted on {found}" if (found := evaluation.settings.get("fitted on")) else ""
    return f"{evaluation.dataset}, {photos}, {what}, {subject}{fitted}"


def mean_and_std(row: Row) -> str:
    """`58.3 ± 0.4`; without ± where there is one value only. Numbers without a unit have three decimals."""
    digits = _digits(row.unit)
    return f"{row.mean:.{digits}f} ± {row.std:.{digits}f}" if len(row.values) > 1 else f"{row.mean:.{digits}f}"


def interval_text(interval: tuple[float, float] | None, *, unit: str) -> str:
    """`[52.1, 61.9]`; empty where it is not known."""
    return "" if interval is None else f"[{interval[0]:.{_digits(unit)}f}, {interval[1]:.{_digits(unit)}f}]"


def difference_text(compared: Compared) -> str:
    """`+5.6 ± 1.2`; the mean alone where the spread is not known, nothing without a baseline."""
    if compared.difference is None:
        return ""
    return _mean_and_spread(compared.difference, unit=compared.row.unit)


def verdict(compared: Compared) -> str:
    """`verdict_text` of a row's difference; empty without one."""
    return "" if compared.difference is None else verdict_text(compared.difference, unit=compared.row.unit)


def verdict_text(found: Difference, *, unit: str) -> str:
    """`+5.6 ± 1.2 [3.1, 8.0] clear`: the difference, its 95 % interval over photos and its word; the word alone where they are equal."""
    parts = (_mean_and_spread(found, unit=unit), interval_text(found.interval, unit=unit), found.word)
    return found.word if found.word == "equal" else " ".join(filter(None, parts))


def _mean_and_spread(found: Difference, *, unit: str) -> str:
    digits = _digits(unit)
    return f"{found.mean:+.{digits}f}" if found.std is None else f"{found.mean:+.{digits}f} ± {found.std:.{digits}f}"


def _digits(unit: str) -> int:
    return 1 if unit == "%" else 3


def _heading(group: Group, *, place: int) -> str:
    """The protocol's name in a group's first line, its clusters in the next one, or in the same where there is none."""
    lines = [group.protocol, *filter(None, [group.clusters])]
    return "\n".join(lines) if len(group.rows) == 1 else "".join(lines[place : place + 1])


def clusters_text(row: Row) -> str:
    """`K = 12, majority`; empty where nothing was clustered."""
    return ", ".join(filter(None, (f"K = {row.num_clusters}", row.details.get("matching")))) if row.num_clusters else ""


def _group(evaluation: Evaluation, *, key: Key) -> Group:
    rows = tuple(_compared(evaluation, place=place) for place, row in enumerate(evaluation.rows) if group_key(row) == key)
    first = rows[0].row
    return Group(masks=key[0], protocol=key[1], clusters=clusters_text(first), metric=metric_label(first), rows=rows)


def _compared(evaluation: Evaluation, *, place: int) -> Compared:
    row = evaluation.rows[place]
    baseline = baseline_of(evaluation, row=row)
    found = None if baseline is None or row.subject.encoder == BASELINE else difference(row, baseline=baseline)
    return Compared(row=row, difference=found, is_headline=place == evaluation.headline)


def _value_heading(evaluation: Evaluation) -> str:
    """The metric where all rows have the same one; else each cell names its own."""
    labels = {metric_label(row) for row in evaluation.rows}
    return labels.pop() if len(labels) == 1 else "value"


def _cells(compared: Compared, *, mark: str, evaluation: Evaluation) -> tuple[str, str, str, str, str]:
    row = compared.row
    encoder = f"{mark}{row.subject.encoder}" if compared.is_headline else row.subject.encoder
    metric = "" if _value_heading(evaluation) == metric_label(row) else f"{metric_label(row)} "
    return encoder, metric + mean_and_std(row), interval_text(row.interval, unit=row.unit), str(len(row.values)), verdict(compared)


def _escaped(cell: str) -> str:
    return cell.replace("\\", "\\\\").replace("|", "\\|").replace("<", "&lt;").replace("\n", " ")
