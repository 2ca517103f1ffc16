"""Print a benchmark's kept rows as a Markdown table: what the READMEs of the rooms show.

python -m benchmarks.harness.table benchmarks/loss/results/mask_pool.json --metric time --metric "peak extra memory"
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from benchmarks.harness.command import run
from mcdist.errors import ConfigError, DataError

HEAD = "| provider | mode | metric | median | p20 to p80 | unit |\n|---|---|---|---:|---:|---|"


def markdown(rows: Sequence[dict[str, Any]]) -> str:
    """A table a shape, and below them the machine, versions, commit and date of the rows."""
    lines = []
    for shape in dict.fromkeys(row["shape"] for row in rows):
        lines += [shape, "", HEAD, *(_line(row) for row in rows if row["shape"] == shape), ""]
    taken = dict.fromkeys(f"{row['machine']}; torch {row['versions'].get('torch', '?')}; commit {row['commit']}; {row['date']}" for row in rows)
    return "\n".join([*lines, *taken])


def _line(row: dict[str, Any]) -> str:
    spread = f"{row['p20']:.4g} to {row['p80']:.4g}"
    return f"| {row['provider']} | {row['mode']} | {row['metric']} | {row['median']:.4g} | {spread} | {row['unit']} |"


def main(
    rows: Annotated[Path, typer.Argument(metavar="ROWS.json", help="What a benchmark wrote with --json.")],
    metric: Annotated[list[str] | None, typer.Option(help="Only these metrics; repeat it for several. Default: all.")] = None,
) -> None:
    """Print the rows as Markdown."""
    try:
        found = json.loads(rows.read_text())
        shown = [row for row in found if not metric or row["metric"] in metric]
        text = markdown(shown)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(f"expected the rows of a benchmark in {rows}, got {error!r}; write them with --json") from error
    if not shown:
        raise ConfigError(f"--metric must be one of {', '.join(sorted({row['metric'] for row in found}))}, got {', '.join(metric or [])}")
    print(text)


if __name__ == "__main__":
    run(main)
