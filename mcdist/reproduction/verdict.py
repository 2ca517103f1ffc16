"""Verdict: whether a result agrees with what the paper reports, differs from it, or cannot be judged, and why."""

import math
import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

from mcdist.reproduction.rows import Row

Word = Literal["agrees", "differs", "cannot be judged"]
ERRORS = 2.0
"""The mean over trainings is known to so many standard errors."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """`values`: mIoU in % of each training. `spread`: their standard deviation, None of fewer than two. `tolerance` in points."""

    row: str
    word: Word
    reason: str
    values: tuple[float, ...]
    spread: float | None
    paper: float | None
    tolerance: float
    reduced: tuple[str, ...]

    @property
    def mean(self) -> float | None:
        """Over the trainings; None without one."""
        return statistics.fmean(self.values) if self.values else None

    @property
    def ours(self) -> str:
        """Our number in words."""
        if self.mean is None:
            return "none"
        spread = "" if self.spread is None else f" ± {self.spread:.1f}"
        return f"{self.mean:.1f}{spread} over {len(self.values)} training{'s' if len(self.values) > 1 else ''}"

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return {**asdict(self), "mean": self.mean}


def judge_row(row: Row, *, values: Sequence[float], tolerance: float, reduced: Sequence[str] = (), problem: str = "") -> Verdict:
    """Compare `values` (mIoU in %, one a training) with the row.

    It agrees where the whole interval mean ± 2 standard errors is within the tolerance of the paper's number, and differs where all of it is outside.
    Between the two it cannot be judged without more trainings. One training has no spread, and is judged by its value alone, which the reason says.
    `reduced`: in what the run is less than the row; such a run is never judged. `problem`: why there are no values, where there are none.
    """
    spread = statistics.stdev(values) if len(values) > 1 else None
    word, reason = _word(row, values=values, tolerance=tolerance, spread=spread, reduced=reduced, problem=problem)
    return Verdict(row=row.name, word=word, reason=reason, values=tuple(values), spread=spread, paper=row.paper, tolerance=tolerance, reduced=tuple(reduced))


def _word(row: Row, *, values: Sequence[float], tolerance: float, spread: float | None, reduced: Sequence[str], problem: str) -> tuple[Word, str]:
    if reduced:
        return "cannot be judged", f"this is a reduced run: {'; '.join(reduced)}"
    if row.unjudged:
        return "cannot be judged", row.unjudged
    if row.paper is None:
        return "cannot be judged", f"the paper's number is not in the table ({row.origin})"
    if not values:
        return "cannot be judged", problem or "nothing was trained and evaluated"
    if not all(map(math.isfinite, values)):
        return "cannot be judged", "a training has no finite score"
    distance, doubt = abs(statistics.fmean(values) - row.paper), 0.0 if spread is None else ERRORS * spread / math.sqrt(len(values))
    alone = "; one training, whose spread is not known" if spread is None else ""
    if distance + doubt <= tolerance:
        return "agrees", f"{distance:.1f} points from the paper, within {tolerance:g}{alone}"
    if distance - doubt > tolerance:
        return "differs", f"{distance:.1f} points from the paper, beyond {tolerance:g}{alone}"
    return "cannot be judged", f"{distance:.1f} ± {doubt:.1f} points from the paper, and the tolerance of {tolerance:g} is between; train more seeds"
