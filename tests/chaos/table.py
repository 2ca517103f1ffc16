"""The table of strikes, as it stands in docs/reliability.md."""

import math
import statistics
from collections.abc import Sequence

from tests.chaos.strike import OUTCOMES, Outcome


def markdown(outcomes: Sequence[Outcome], *, seed: int) -> str:
    """A row for each fault: how often, what became of it, and the seconds of the command that was given again."""
    shown = [name for name in OUTCOMES if any(one.outcome == name for one in outcomes)]
    lines = [f"| fault | strikes | {' | '.join(shown)} | seconds to the end, median |", f"|---|---:|{'---:|' * len(shown)}---:|"]
    for fault in dict.fromkeys(one.fault for one in sorted(outcomes, key=lambda one: one.fault)):
        lines.append(_row(fault, [one for one in outcomes if one.fault == fault], shown))
    lines.append(_row(f"all, seed {seed}", outcomes, shown))
    return "\n".join(lines) + "\n"


def with_table(page: str, table: str) -> str:
    """The page with the table between its marks. Raises ValueError where it has none."""
    begin, end = page.index("<!-- chaos: written by"), page.index("<!-- chaos: end -->")
    first = page.index("\n", begin) + 1
    return page[:first] + "\n" + table + "\n" + page[end:]


def _row(name: str, outcomes: Sequence[Outcome], shown: Sequence[str]) -> str:
    seconds = [one.seconds for one in outcomes if not math.isnan(one.seconds)]
    counts = " | ".join(str(sum(one.outcome == column for one in outcomes) or "") for column in shown)
    return f"| {name} | {len(outcomes)} | {counts} | {f'{statistics.median(seconds):.1f}' if seconds else ''} |"
