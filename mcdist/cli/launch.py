"""mcdist launch: train on a SLURM cluster, or as local processes where there is none. `python launch/slurm.py` is the same from a clone."""

from dataclasses import asdict, dataclass
from typing import Annotated

import typer

from mcdist.cli.option_groups import spread

Text = Annotated[str | None, typer.Option(show_default=False)]


@dataclass(frozen=True, slots=True)
class ClusterOptions:
    """What `mcdist.launch.cluster.Cluster` has, each None where it is not given and the preset's value holds."""

    nodes: Annotated[int | None, typer.Option(help="Nodes.", show_default="1")] = None
    tasks_per_node: Annotated[int | None, typer.Option(help="Ranks a node.", show_default="one a GPU, or one")] = None
    gpus_per_node: Annotated[int | None, typer.Option(help="GPUs a node; one rank each.", show_default="0")] = None
    cpus_per_task: Annotated[int | None, typer.Option(help="Cores a rank, its data workers included.", show_default=False)] = None
    mem: Annotated[str | None, typer.Option(metavar="64G", help="Memory a node.", show_default=False)] = None
    time: Annotated[str | None, typer.Option(metavar="[D-]HH:MM:SS", help="Time limit, or minutes; before it the run is saved and the job started again.")] = (
        None
    )
    partition: Text = None
    account: Text = None
    qos: Text = None
    constraint: Text = None
    exclude: Text = None
    comment: Text = None
    setup: Annotated[str | None, typer.Option(metavar="SHELL", help='Shell lines run before the job, such as "module load cuda".')] = None
    container: Annotated[str | None, typer.Option(metavar="IMAGE", help="pyxis/enroot image, or FILE.sif for apptainer.")] = None
    signal_delay_s: Annotated[int | None, typer.Option(help="Seconds before the time limit at which ranks are asked to save.", show_default="90")] = None


@spread
def launch_command(
    words: Annotated[
        list[str] | None,
        typer.Argument(metavar="[CONFIG] [KEY=VALUE]...", help="Default: configs/demo.yaml. With --array: `-- mcdist shards build ...`."),
    ] = None,
    cluster: Annotated[str, typer.Option(metavar="NAME", help="auto, local, or a preset configs/cluster/NAME.yaml.")] = "auto",
    *,
    options: ClusterOptions,
    array: Annotated[int, typer.Option(metavar="N", help="Split the command after -- into N parts, one array element each.")] = 0,
    sweep: Annotated[list[str] | None, typer.Option(metavar="KEY=A,B,C", help="One run for each value, as an array; several give all combinations.")] = None,
    evaluate: Annotated[bool, typer.Option("--evaluate", help="Evaluate when the training has ended well.")] = False,
    wait: Annotated[bool, typer.Option("--wait", help="Follow the job to its end, through requeues.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print the batch script and submit nothing.")] = False,
) -> None:
    """Train CONFIG on a SLURM cluster; the same command continues a stopped run.

    The run folder keeps a copy of the code and the resolved configuration, and the job runs from them. Missing shards of the demo are built on the first
    node before training. Without SLURM the same job runs here, as local processes.

    Example: mcdist launch --nodes 4 configs/demo.yaml
    Example: mcdist launch --array 16 -- mcdist proposals make ensemble photos --out masks
    """
    from mcdist.launch.cluster import load_preset
    from mcdist.launch.plan import plan_all
    from mcdist.launch.slurm_commands import partitions, refuse_impossible, why_no_slurm
    from mcdist.launch.snapshot import commit_of
    from mcdist.launch.start import SOURCE, requests_of, start_here, start_there
    from mcdist.launch.submission import batch_text

    changes = {name: value for name, value in asdict(options).items() if value is not None}
    request = load_preset("" if cluster in ("auto", "local") else cluster, changes=changes)
    plans = plan_all(words or [], cluster=request, array=array, sweep=sweep or [], evaluate=evaluate, commit=commit_of(SOURCE))
    if dry_run:
        typer.echo("\n".join(batch_text(one) for one in requests_of(plans, cluster=request)), nl=False)
        return
    reason = "--cluster local" if cluster == "local" else why_no_slurm()
    if reason:
        typer.echo(f"{reason}: the job runs here, as local processes ({request.num_ranks} ranks)")
        raise typer.Exit(start_here(plans, cluster=request))
    refuse_impossible(request, known=partitions())
    raise typer.Exit(start_there(plans, cluster=request, wait=wait))
