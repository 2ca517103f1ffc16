"""The command line: mcdist train, evaluate, report, proposals, doctor. Errors a user can cause are one sentence and an exit code."""
# ruff: noqa: E402

import os
import sys

from mcdist.resilience.stop import listen

if sys.argv[1:2] == ["train"]:
    listen()  # before the slow imports: a cluster may signal in the first second

from pathlib import Path
from typing import Annotated

import typer

from mcdist.commands.proposals import proposals
from mcdist.errors import McdistError, RankLostError
from mcdist.run_dir import RunDir

app = typer.Typer(
    name="mcdist",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    help="Learn pixel representations without labels by contrasting object-mask proposals, and see what they name.",
)

app.add_typer(proposals, name="proposals")

Overrides = Annotated[list[str] | None, typer.Argument(metavar="[KEY=VALUE]...", help="Settings over the file's, such as optim.lr=0.01 run.dir=runs/second.")]
RunFolder = Annotated[Path, typer.Argument(metavar="RUN", help="A run's folder, such as runs/demo.")]


@app.command("train")
def train_command(
    config: Annotated[Path, typer.Argument(metavar="CONFIG", help="A YAML file, such as configs/demo.yaml.")], overrides: Overrides = None
) -> None:
    """Train CONFIG; the same command continues a stopped run.

    Ctrl-C, SIGTERM and a cluster's notice (SIGUSR1, SIGUSR2) save a checkpoint and leave (exit code 130, 143 and 75). On several devices:
    torchrun --nproc-per-node 2 -m mcdist train CONFIG ...

    Exit codes: 0 trained, 2 configuration, 3 data, 4 checkpoint, 5 loss not finite, 6 package missing, 7 machine,
    8 the run folder is held by another job, 9 replaced by a newer one, 75 start me again.
    """
    from mcdist.config.file import load_config

    loaded = load_config(config, overrides=overrides)
    from mcdist.run import train_run

    raise typer.Exit(train_run(loaded))


@app.command("evaluate")
def evaluate_command(
    run: RunFolder,
    overrides: Overrides = None,
    checkpoint: Annotated[str, typer.Option(help="newest, best (lowest training loss), or step_NNNNNNNN.")] = "newest",
) -> None:
    """Cluster RUN's embeddings on its validation shards, beside its baselines; writes evaluation.json and report.html and prints the table."""
    from mcdist.report.console import show
    from mcdist.report.table import evaluation_table
    from mcdist.run import evaluate_run

    run_dir = RunDir(run)
    evaluation = evaluate_run(run_dir, overrides=overrides or [], which=checkpoint)
    show(evaluation_table(evaluation))
    typer.echo(f"report: {run_dir.report}")


@app.command("report")
def report_command(run: RunFolder) -> None:
    """Write RUN's report.html anew from its files."""
    from mcdist.report.html import write_report

    typer.echo(f"report: {write_report(RunDir(run))}")


@app.command("doctor")
def doctor_command() -> None:
    """Print what this machine has and what is missing, with the line that installs it."""
    from mcdist.machine.doctor import examine
    from mcdist.report.console import show
    from mcdist.report.doctor_table import findings_table

    show(findings_table(examine()))


def main() -> None:
    """Entry point of the `mcdist` command."""
    try:
        app()
    except RankLostError as error:
        typer.echo(f"mcdist: {error}", err=True)
        sys.stdout.flush()
        os._exit(error.exit_code)  # what is left of the exchange with the lost rank may wait for it
    except McdistError as error:
        typer.echo(f"mcdist: {error}", err=True)
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        typer.echo("mcdist: interrupted; what was saved before is intact", err=True)
        sys.exit(130)


if __name__ == "__main__":
    main()
