"""What several training seeds of one configuration reached: each row of their evaluations, beside the frozen start under the same masks. `mcdist compare` says
more, row by row; this is the short table of docs/study.md, with the encoders side by side.

    python -m benchmarks.study.table runs/study/groups_0 runs/study/groups_1 runs/study/groups_2

A run's value is the mean over its clusterings; ± is the standard deviation over runs (population, as everywhere here). The difference is paired: trained minus
frozen start in each run, then mean and standard deviation over runs.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy
import typer

from benchmarks.harness.command import run
from mcdist.errors import ConfigError
from mcdist.records import Evaluation, Row
from mcdist.records.difference import CLEAR_STDS
from mcdist.records.names import INITIAL, INITIAL_BACKBONE, TRAINED
from mcdist.records.trainings import group_key, pooled
from mcdist.run_dir import RunDir

SHOWN = {TRAINED: "trained", INITIAL: "before training", INITIAL_BACKBONE: "frozen start"}
"""Encoders, and what the table calls them."""
Key = tuple[str, str, int, str]
"""(masks, protocol, K, encoder)."""


@dataclass(frozen=True, slots=True)
class Line:
    """One encoder under one protocol, masks and K over all runs. `difference`: to the frozen start, run by run; empty for the frozen start itself."""

    key: Key
    values: tuple[float, ...]
    difference: tuple[float, ...]

    @property
    def is_clear(self) -> bool:
        """Whether the mean difference is more than CLEAR_STDS of its standard deviations, and of the values' own."""
        spread = max(float(numpy.std(self.difference)), float(numpy.std(self.values))) if self.difference else 0.0
        return bool(self.difference) and abs(float(numpy.mean(self.difference))) > CLEAR_STDS * spread


def lines_of(evaluations: Sequence[Evaluation]) -> list[Line]:
    """The lines that all evaluations have, in the order of the first.

    Raises:
        DataError: none.
    """
    rows = [row for row in pooled(evaluations).rows if row.subject.encoder in SHOWN and row.unit == "%"]
    starts = {group_key(row): row for row in rows if row.subject.encoder == INITIAL_BACKBONE}
    return [_line(row, start=starts.get(group_key(row))) for row in rows]


def markdown(lines: Sequence[Line], *, num_runs: int) -> str:
    """The table as text: a row for each masks, protocol and K, with its encoders side by side."""
    rows = [["masks", "protocol", "K", *SHOWN.values(), "trained - frozen start"], ["---"] * 3 + ["---:"] * (len(SHOWN) + 1)]
    by_key = {line.key: line for line in lines}
    for masks, protocol, num_clusters in dict.fromkeys(line.key[:3] for line in lines):
        found = {encoder: by_key.get((masks, protocol, num_clusters, encoder)) for encoder in SHOWN}
        values = ["" if line is None else _spread(line.values) for line in found.values()]
        trained = found[TRAINED]
        rows.append([masks or "-", protocol, str(num_clusters or "-"), *values, "" if trained is None else _difference(trained)])
    table = "\n".join(f"| {' | '.join(row)} |" for row in rows)
    return f"{table}\n\nmIoU in %, mean ± standard deviation over {num_runs} training runs, each the mean over its clusterings."


def main(runs: Annotated[list[Path], typer.Argument(metavar="RUN...", help="Evaluated runs of one configuration.", show_default=False)]) -> None:
    """Print the table of several runs.

    Example: python -m benchmarks.study.table runs/a_0 runs/a_1 runs/a_2
    """
    typer.echo(markdown(lines_of([_read(folder) for folder in runs]), num_runs=len(runs)))


def _read(folder: Path) -> Evaluation:
    path = RunDir(folder).evaluation
    if not path.is_file():
        raise ConfigError(f"{folder} is not evaluated: there is no {path}; run: mcdist evaluate {folder}")
    return Evaluation.from_json(path.read_text(), where=str(path))


def _line(row: Row, *, start: Row | None) -> Line:
    """A row whose values are the runs, beside the frozen start's."""
    key = (row.subject.masks, row.protocol, row.num_clusters, row.subject.encoder)
    if start is None or start is row:
        return Line(key, values=row.values, difference=())
    return Line(key, values=row.values, difference=tuple(numpy.subtract(row.values, start.values).tolist()))


def _spread(values: Sequence[float], *, sign: str = "") -> str:
    return f"{numpy.mean(values):{sign}.1f} ± {numpy.std(values):.1f}" if len(values) > 1 else f"{numpy.mean(values):{sign}.1f}"


def _difference(line: Line) -> str:
    if not line.difference:
        return ""
    word = "" if len(line.difference) < 2 else (" clear" if line.is_clear else " unclear")
    return _spread(line.difference, sign="+") + word


if __name__ == "__main__":
    run(main)
