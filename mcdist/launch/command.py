"""The command line of the cluster: python launch/slurm.py --nodes 4 [CONFIG] [KEY=VALUE]... Where there is no SLURM the same job runs as local processes."""

import sys
from dataclasses import fields
from pathlib import Path
from typing import Annotated

import typer

from mcdist.errors import ConfigError, McdistError
from mcdist.launch.cluster import Cluster, load_preset
from mcdist.launch.plan import DEMO, Plan, plan_evaluation, plan_parts, plan_training
from mcdist.launch.slurm_commands import partitions, refuse_impossible, why_no_slurm
from mcdist.launch.snapshot import commit_of
from mcdist.launch.start import SOURCE, requests_of, start_here, start_there
from mcdist.launch.submission import batch_text

PARTS_ROOT = Path("runs/parts")
app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)

Text = Annotated[str | None, typer.Option(show_default=False)]


@app.command()
def launch(
    words: Annotated[
        list[str] | None, typer.Argument(metavar="[CONFIG] [KEY=VALUE]...", help="Default: configs/demo.yaml. With --array: `-- shards build ...`.")
    ] = None,
    cluster: Annotated[str, typer.Option(metavar="NAME", help="auto, local, or a preset configs/cluster/NAME.yaml.")] = "auto",
    nodes: Annotated[int | None, typer.Option(help="Nodes.", show_default="1")] = None,
    tasks_per_node: Annotated[int | None, typer.Option(help="Ranks a node.", show_default="one a GPU, or one")] = None,
    gpus_per_node: Annotated[int | None, typer.Option(help="GPUs a node; one rank each.", show_default="0")] = None,
    cpus_per_task: Annotated[int | None, typer.Option(help="Cores a rank, its data workers included.", show_default=False)] = None,
    mem: Annotated[str | None, typer.Option(metavar="64G", help="Memory a node.", show_default=False)] = None,
    time: Annotated[str | None, typer.Option(metavar="[D-]HH:MM:SS", help="Time limit, or minutes; the run is saved and requeued before.")] = None,
    partition: Text = None,
    account: Text = None,
    qos: Text = None,
    constraint: Text = None,
    exclude: Text = None,
    comment: Text = None,
    setup: Annotated[str | None, typer.Option(metavar="SHELL", help='Shell lines run before the job, such as "module load cuda".')] = None,
    container: Annotated[str | None, typer.Option(metavar="IMAGE", help="pyxis/enroot image, or FILE.sif for apptainer.")] = None,
    signal_delay_s: Annotated[int | None, typer.Option(help="Ranks are told to save so long before the time limit.", show_default="90")] = None,
    array: Annotated[int, typer.Option(metavar="N", help="Split the command after -- into N parts, one array element each.")] = 0,
    sweep: Annotated[list[str] | None, typer.Option(metavar="KEY=A,B,C", help="One run for each value, as an array; several give all combinations.")] = None,
    evaluate: Annotated[bool, typer.Option("--evaluate", help="Evaluate when the training has ended well.")] = False,
    wait: Annotated[bool, typer.Option("--wait", help="Follow the job to its end, through requeues.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print the batch script and submit nothing.")] = False,
) -> None:
    """Train CONFIG on a SLURM cluster; the same command continues a stopped run.

    A copy of the code and the resolved configuration lie in the run folder, and the job runs from them. Missing shards of the demo are built on the first
    node before training.
    """
    given = locals()
    changes = {field.name: given[field.name] for field in fields(Cluster) if given[field.name] is not None}
    request = load_preset("" if cluster in ("auto", "local") else cluster, changes=changes)
    plans = _plans(words or [], cluster=request, array=array, sweep=sweep or [], evaluate=evaluate)
    if dry_run:
        typer.echo("\n".join(batch_text(one) for one in requests_of(plans, cluster=request)), nl=False)
        return
    reason = "--cluster local" if cluster == "local" else why_no_slurm()
    if reason:
        typer.echo(f"{reason}: the job runs here, as local processes ({request.num_ranks} ranks)")
        raise typer.Exit(start_here(plans, cluster=request))
    refuse_impossible(request, known=partitions())
    raise typer.Exit(start_there(plans, cluster=request, wait=wait))


def _plans(words: list[str], *, cluster: Cluster, array: int, sweep: list[str], evaluate: bool) -> list[Plan]:
    """The submission, and the evaluation after it where it is wanted."""
    commit = commit_of(SOURCE)
    if array:
        if sweep or evaluate:
            raise ConfigError("--array splits the command after --; it goes with neither --sweep nor --evaluate")
        if cluster.num_ranks > 1:
            raise ConfigError(f"--array gives each part one task, got --nodes and tasks for {cluster.num_ranks}; leave them out")
        return [plan_parts(words, num_parts=array, root=PARTS_ROOT, commit=commit)]
    named = bool(words) and "=" not in words[0]
    config, overrides = (Path(words[0]), words[1:]) if named else (DEMO, words)
    training = plan_training(config, overrides=overrides, sweep=sweep, cluster=cluster, commit=commit)
    return [training, plan_evaluation(training, commit=commit)] if evaluate else [training]


def main() -> None:
    """Run the command line; errors a user can cause are one sentence and an exit code."""
    try:
        app(prog_name="python launch/slurm.py")
    except McdistError as error:
        typer.echo(f"launch: {error}", err=True)
        sys.exit(error.exit_code)


if __name__ == "__main__":
    main()
