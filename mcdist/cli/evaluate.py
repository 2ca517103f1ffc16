"""mcdist evaluate."""

from typing import Annotated

import typer

from mcdist.cli.run_arguments import Overrides, RunFolder
from mcdist.run_dir import RunDir


def evaluate_command(
    run: RunFolder,
    overrides: Overrides = None,
    checkpoint: Annotated[str, typer.Option(help="newest, best (lowest training loss), or step_NNNNNNNN.")] = "newest",
) -> None:
    """Cluster RUN's embeddings on its validation shards, beside its baselines; writes evaluation.json and report.html and prints the table."""
    evaluate_and_print(RunDir(run), overrides=overrides, checkpoint=checkpoint)


def evaluate_and_print(run_dir: RunDir, *, overrides: list[str] | None = None, checkpoint: str = "newest") -> None:
    """Evaluate, print the table and say where the report is."""
    from mcdist.report.console import show
    from mcdist.report.table import evaluation_table
    from mcdist.run import evaluate_run

    show(evaluation_table(evaluate_run(run_dir, overrides=overrides or [], which=checkpoint)))
    typer.echo(f"report: {run_dir.report}")
