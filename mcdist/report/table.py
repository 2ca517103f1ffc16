"""The table of an evaluation: rows with their difference to the initial backbone, for the terminal, for Markdown and for the report."""

from dataclasses import dataclass

from rich import box
from rich.table import Table

from mcdist.records import Evaluation, Score

BASELINE = "initial backbone"
"""The encoder each row of a group is compared with: what the run started from."""


@dataclass(frozen=True, slots=True)
class Row:
    """One score beside its baseline. `difference_percent`: points of mIoU over the group's initial backbone, None for that row or without one."""

    score: Score
    difference_percent: float | None
    is_headline: bool


@dataclass(frozen=True, slots=True)
class Group:
    """The scores that may be compared: same masks, same protocol."""

    masks: str
    protocol: str
    rows: tuple[Row, ...]


def evaluation_groups(evaluation: Evaluation) -> tuple[Group, ...]:
    """The scores by masks and protocol, in the order they were measured; the headline's group first."""
    quoted = headline(evaluation)
    keys = list(dict.fromkeys((score.masks, score.protocol) for score in evaluation.scores))
    keys.sort(key=lambda key: quoted is None or key != (quoted.masks, quoted.protocol))
    return tuple(_group(evaluation, masks=masks, protocol=protocol) for masks, protocol in keys)


def headline(evaluation: Evaluation) -> Score | None:
    """The score to quote; None where the evaluation has none."""
    return evaluation.scores[evaluation.headline] if 0 <= evaluation.headline < len(evaluation.scores) else None


def baseline_of(evaluation: Evaluation, *, score: Score) -> Score | None:
    """The initial backbone's score on the same masks under the same protocol, if it was measured."""
    beside = (other for other in evaluation.scores if (other.masks, other.protocol) == (score.masks, score.protocol))
    return next((other for other in beside if other.encoder == BASELINE), None)


def evaluation_table(evaluation: Evaluation) -> Table:
    """The table for a terminal; the headline is marked with an arrow. Without ground truth: the clusters' measures."""
    if not evaluation.has_truth:
        return _clusters_table(evaluation)
    table = Table(box=box.ROUNDED, title=caption(evaluation), title_justify="left", title_style="bold", header_style="bold cyan", border_style="bright_black")
    table.add_column("masks")
    table.add_column("protocol", overflow="fold")
    table.add_column("encoder")
    table.add_column("mIoU %", justify="right")
    table.add_column("seeds", justify="right")
    table.add_column(f"vs {BASELINE}", justify="right")
    for group in evaluation_groups(evaluation):
        for place, row in enumerate(group.rows):
            first = (group.masks, group.protocol) if place == 0 else ("", "")
            style = "bold green" if row.is_headline else ""
            table.add_row(*first, *_cells(row, mark="▸ "), style=style, end_section=place == len(group.rows) - 1)
    return table


def _clusters_table(evaluation: Evaluation) -> Table:
    table = Table(box=box.ROUNDED, title=caption(evaluation), title_justify="left", title_style="bold", header_style="bold cyan", border_style="bright_black")
    for name in ("masks", "protocol", "encoder"):
        table.add_column(name, overflow="fold")
    for name in ("objects", "silhouette", "agreement between seeds", "largest cluster", "smallest"):
        table.add_column(name, justify="right")
    for place, row in enumerate(evaluation.clusters):
        quoted = place == evaluation.headline
        sizes = (f"{row.sizes[0]:,}", f"{row.sizes[-1]:,}") if row.sizes else ("", "")
        cells = (f"{row.num_objects:,}", f"{row.mean_silhouette:.3f}", f"{row.agreement:.2f}", *sizes)
        table.add_row(row.masks, row.protocol, f"▸ {row.encoder}" if quoted else row.encoder, *cells, style="bold green" if quoted else "")
    return table


def evaluation_markdown(evaluation: Evaluation) -> str:
    """The table in GitHub's Markdown, the headline in bold, the caption below."""
    lines = [f"| masks | protocol | encoder | mIoU % | seeds | vs {BASELINE} |", "|---|---|---|---:|---:|---:|"]
    for group in evaluation_groups(evaluation):
        for row in group.rows:
            cells = [_escaped(cell) for cell in (group.masks, group.protocol, *_cells(row, mark=""))]
            lines.append("| " + " | ".join(f"**{cell}**" if row.is_headline and cell else cell for cell in cells) + " |")
    return "\n".join([*lines, "", _escaped(caption(evaluation)), ""])


def caption(evaluation: Evaluation) -> str:
    """What was evaluated, in one line: data set, photos, step; a subset is called one."""
    subset = evaluation.num_photos < evaluation.num_photos_in_dataset
    photos = f"{evaluation.num_photos:,} of {evaluation.num_photos_in_dataset:,} photos (a subset)" if subset else f"{evaluation.num_photos:,} photos"
    what = f"{len(evaluation.classes)} classes" if evaluation.has_truth else f"no ground truth, {len(evaluation.classes) - 1} clusters"
    return f"{evaluation.dataset}, {photos}, {what}, after step {evaluation.step:,}"


def mean_and_std(score: Score) -> str:
    """`58.3 ± 0.4`; without ± where there is one seed only."""
    return f"{score.mean_percent:.1f} ± {score.std_percent:.1f}" if len(score.miou_percent) > 1 else f"{score.mean_percent:.1f}"


def _group(evaluation: Evaluation, *, masks: str, protocol: str) -> Group:
    rows = [_row(evaluation, place=place) for place, score in enumerate(evaluation.scores) if (score.masks, score.protocol) == (masks, protocol)]
    return Group(masks=masks, protocol=protocol, rows=tuple(rows))


def _row(evaluation: Evaluation, *, place: int) -> Row:
    score = evaluation.scores[place]
    baseline = baseline_of(evaluation, score=score)
    difference = None if baseline is None or score.encoder == BASELINE else score.mean_percent - baseline.mean_percent
    return Row(score=score, difference_percent=difference, is_headline=place == evaluation.headline)


def _cells(row: Row, *, mark: str) -> tuple[str, str, str, str]:
    difference = "" if row.difference_percent is None else f"{row.difference_percent:+.1f}"
    encoder = f"{mark}{row.score.encoder}" if row.is_headline else row.score.encoder
    return encoder, mean_and_std(row.score), str(len(row.score.miou_percent)), difference


def _escaped(cell: str) -> str:
    return cell.replace("\\", "\\\\").replace("|", "\\|").replace("<", "&lt;").replace("\n", " ")
