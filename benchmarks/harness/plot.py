"""Draw one metric of a benchmark's rows as bars: a bar a provider, longest first, with its 20th and 80th percentile.

python -m benchmarks.harness.plot data_pipeline.json --metric photos --figure docs/figures/data_pipeline.png
"""

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from benchmarks.harness.command import run
from mcdist.errors import ConfigError

BAR, WHISKER = "#5b7089", "#1f2937"


def rows_to_draw(rows: list[dict[str, Any]], *, metric: str, mode: str) -> list[dict[str, Any]]:
    """The rows of `metric`, longest first; ConfigError names the metrics there are."""
    chosen = [row for row in rows if row["metric"] == metric and mode in ("", row["mode"])]
    if not chosen:
        raise ConfigError(f"--metric wants one of {', '.join(sorted({row['metric'] for row in rows}))}, got {metric!r} (--mode {mode!r})")
    return sorted(chosen, key=lambda row: row["median"])


def draw(rows: list[dict[str, Any]], *, path: Path) -> None:
    """Horizontal bars with their numbers."""
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(figsize=(8, 0.6 + 0.42 * len(rows)), constrained_layout=True)
    medians = [row["median"] for row in rows]
    spread = [[row["median"] - row["p20"] for row in rows], [row["p80"] - row["median"] for row in rows]]
    axes.barh([row["provider"] for row in rows], medians, xerr=spread, color=BAR, ecolor=WHISKER, height=0.62)
    for place, row in enumerate(rows):
        axes.text(
            row["p80"] + 0.01 * max(medians), place, f" {row['median']:,.0f}" if row["median"] >= 100 else f" {row['median']:.3g}", va="center", fontsize=9
        )
    axes.set_xlabel(f"{rows[0]['metric']}, {rows[0]['unit']}   ({rows[0]['shape']})")
    axes.set_xlim(0, 1.12 * max(medians))
    axes.spines[["top", "right"]].set_visible(False)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=110)
    plt.close(figure)


def main(
    rows: Annotated[Path, typer.Argument(help="What a benchmark wrote with --json.", show_default=False)],
    metric: Annotated[str, typer.Option(help="Which metric.")] = "time",
    mode: Annotated[str, typer.Option(help="Only rows of this mode.")] = "",
    figure: Annotated[Path, typer.Option(help="The picture to write.")] = Path("benchmark.png"),
) -> None:
    """Bars of one metric."""
    draw(rows_to_draw(json.loads(rows.read_text()), metric=metric, mode=mode), path=figure)


if __name__ == "__main__":
    run(main)
