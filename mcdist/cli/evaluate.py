"""mcdist evaluate."""

from pathlib import Path
from typing import Annotated

import typer

from mcdist.cli.run_arguments import Overrides, RunFolder
from mcdist.run_dir import RunDir


def evaluate_command(
    run: RunFolder,
    overrides: Overrides = None,
    checkpoint: Annotated[str, typer.Option(help="newest, best (lowest training loss), or step_NNNNNNNN.")] = "newest",
    protocol: Annotated[
        list[str] | None, typer.Option(metavar="NAME", help="Judge by this protocol; repeat for several, the first is quoted. See: mcdist protocols")
    ] = None,
    store: Annotated[Path | None, typer.Option(metavar="DIR", help="Judge this feature store (of mcdist embed) instead of embedding the photos.")] = None,
    train_shards: Annotated[str, typer.Option(metavar="DIR", help="Shards with ground truth that probes are fitted on, for protocols that need them.")] = "",
) -> None:
    """Judge RUN's embeddings on its validation shards, beside its baselines; writes evaluation.json and report.html and prints the table.

    On several devices: torchrun --nproc-per-node 2 -m mcdist evaluate RUN ...
    """
    evaluate_and_print(RunDir(run), overrides=overrides, checkpoint=checkpoint, protocols=protocol, store=store, train_shards=train_shards)


def evaluate_and_print(
    run_dir: RunDir,
    *,
    overrides: list[str] | None = None,
    checkpoint: str = "newest",
    protocols: list[str] | None = None,
    store: Path | None = None,
    train_shards: str = "",
) -> None:
    """Evaluate, print the table and say where the report is; the first rank alone prints."""
    from mcdist.evaluation import evaluate_run
    from mcdist.report.console import show
    from mcdist.report.table import evaluation_table

    evaluation = evaluate_run(run_dir, overrides=overrides or [], which=checkpoint, protocols=protocols or (), store=store, train_shards=train_shards)
    if evaluation is not None:
        show(evaluation_table(evaluation))
        typer.echo(f"report: {run_dir.report}")
