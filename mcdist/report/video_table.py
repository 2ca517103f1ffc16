"""The table of a video protocol: J&F of each encoder with its parts, beside the frozen start and the floor."""

from collections.abc import Sequence

from rich import box
from rich.table import Table

from mcdist.records import Row
from mcdist.records.names import BASELINE

HEADINGS = ("J&F", "95 %", "J", "recall", "decay", "F", "recall", "decay", f"vs {BASELINE}")


def video_table(rows: Sequence[Row], *, title: str, caption: str) -> Table:
    """For a terminal; all numbers in %."""
    table = Table(box=box.ROUNDED, title=title, title_justify="left", title_style="bold", header_style="bold cyan", border_style="bright_black")
    table.caption, table.caption_justify = caption, "left"
    table.add_column("encoder")
    for heading in HEADINGS:
        table.add_column(heading, justify="right")
    for row in rows:
        table.add_row(row.subject.encoder, *video_cells(row, rows=rows))
    return table


def video_markdown(rows: Sequence[Row]) -> str:
    """In GitHub's Markdown."""
    lines = [f"| encoder | {' | '.join(HEADINGS)} |", "|---|" + "---:|" * len(HEADINGS)]
    return "\n".join([*lines, *(f"| {row.subject.encoder} | {' | '.join(video_cells(row, rows=rows))} |" for row in rows)]) + "\n"


def video_cells(row: Row, *, rows: Sequence[Row]) -> list[str]:
    """What is below HEADINGS in the line of one encoder."""
    low, high = row.interval or (row.mean, row.mean)
    sides = [f"{row.details[side][name]:.1f}" for side in ("J_percent", "F_percent") for name in ("mean", "recall", "decay")]
    return [f"{row.mean:.1f}", f"{low:.1f} to {high:.1f}", *sides, _versus(row, rows=rows)]


def _versus(row: Row, *, rows: Sequence[Row]) -> str:
    """The difference, and in how many videos the row is better; nothing for the baseline itself."""
    baseline = next((other for other in rows if other.subject.encoder == BASELINE), None)
    if baseline is None or baseline is row:
        return ""
    here, there = (one.details["by_video_percent"] for one in (row, baseline))
    num_better = sum(here[name] > there[name] for name in here)
    return f"{row.mean - baseline.mean:+.1f} (better in {num_better} of {len(here)})"
