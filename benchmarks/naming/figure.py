"""Draw mIoU against names typed and photos labelled by hand, a panel a data set.

python -m benchmarks.naming.figure benchmarks/naming/results/voc_animals.json benchmarks/naming/results/msrc_v2.json --figure docs/figures/labels_per_click.png
"""

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from benchmarks.harness.command import run
from mcdist.report.palette import BASELINE, THIRD, TRAINED


def draw(panels: list[list[dict[str, Any]]], *, path: Path) -> None:
    """A panel for each benchmark's rows: a line a provider, with the standard deviation shaded."""
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(1, len(panels), figsize=(5.2 * len(panels), 3.8), constrained_layout=True, squeeze=False)
    for axis, rows in zip(axes[0], panels, strict=True):
        providers = list(dict.fromkeys(row["provider"] for row in rows))
        for provider in providers:
            own = [row for row in rows if row["provider"] == provider]
            colour = BASELINE if "hand" in provider else TRAINED if "as many" in provider else THIRD
            numbers = [int(row["mode"]) for row in own]
            axis.plot(numbers, [row["mean"] for row in own], marker="o", color=colour, label=provider)
            low, high = ([row["mean"] + sign * row["std"] for row in own] for sign in (-1, 1))
            axis.fill_between(numbers, low, high, color=colour, alpha=0.18, linewidth=0)
        axis.set_xscale("log")
        ticks = sorted({int(row["mode"]) for row in rows})
        axis.set_xticks(ticks, [str(tick) for tick in ticks])
        axis.minorticks_off()
        axis.set_xlabel("names typed, or photos labelled pixel by pixel")
        axis.set_ylabel("mIoU on other photos, %")
        axis.set_title(rows[0]["shape"], fontsize=9)
        axis.set_ylim(bottom=0)
        axis.grid(alpha=0.25)
        axis.spines[["top", "right"]].set_visible(False)
        axis.legend(fontsize=8, frameon=False)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=110)
    plt.close(figure)


def main(
    rows: Annotated[list[Path], typer.Argument(help="What labels_per_click wrote with --json; a panel each.", show_default=False)],
    figure: Annotated[Path, typer.Option(help="The picture to write.")] = Path("docs/figures/labels_per_click.png"),
) -> None:
    """Names against photos labelled by hand."""
    draw([json.loads(path.read_text()) for path in rows], path=figure)


if __name__ == "__main__":
    run(main)
