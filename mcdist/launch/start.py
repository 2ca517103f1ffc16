"""Start: a plan is written to its folder, with a copy of the code, and is submitted to SLURM or run here."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import typer

from mcdist.errors import ConfigError, MachineError
from mcdist.launch.cluster import Cluster
from mcdist.launch.follow import OVER, Followed, follow
from mcdist.launch.local import run_locally
from mcdist.launch.plan import Plan
from mcdist.launch.slurm_commands import queue_state
from mcdist.launch.snapshot import take_snapshot
from mcdist.launch.spec import write_spec
from mcdist.launch.submission import Request, batch_text, check_path, submit
from mcdist.report.job_view import JobView

SOURCE = Path(__file__).resolve().parent.parent.parent


def requests_of(plans: Sequence[Plan], *, cluster: Cluster) -> list[Request]:
    """What SLURM is asked for each plan: the same nodes and tasks, since all ranks of a training judge it too."""
    return [Request(name=plan.name, folder=plan.folder, cluster=cluster, num_elements=plan.num_elements) for plan in plans]


def start_here(plans: Sequence[Plan], *, cluster: Cluster) -> int:
    """Run the plans as local processes, one after another, until one does not end well. Returns the exit code."""
    for plan, request in zip(plans, requests_of(plans, cluster=cluster), strict=True):
        _write(plan)
        code = run_locally(plan.folder, cluster=request.cluster)
        if code:
            return code
    return 0


def start_there(plans: Sequence[Plan], *, cluster: Cluster, wait: bool) -> int:
    """Submit the plans, each after the one before it has ended well, and with `wait` follow them. Returns the exit code."""
    if plans[0].run_dirs:
        _refuse_second(plans[0].folder.parent)
    followed: list[list[Followed]] = []
    for plan, request in zip(plans, requests_of(plans, cluster=cluster), strict=True):
        request = replace(request, after=followed[-1][0].job_id.partition("_")[0] if followed else "")
        script = batch_text(request)
        _write(plan)
        (plan.folder / "submission.sh").write_text(script)
        job_id = submit(request)
        (plan.folder / "job_id").write_text(job_id + "\n")
        typer.echo(f"submitted job {job_id} ({plan.name}); its folder: {plan.folder}")
        followed.append(_elements(plan, job_id=job_id))
    if not wait:
        return 0
    try:
        with JobView() as view:
            return max(follow(jobs, view=view) for jobs in followed)
    except KeyboardInterrupt:
        typer.echo("no longer watched; the job that was submitted continues")
        return 130


def _elements(plan: Plan, *, job_id: str) -> list[Followed]:
    run_dirs: Sequence[Path | None] = plan.run_dirs or [None] * max(1, plan.num_elements)
    if not plan.num_elements:
        return [Followed(job_id, run_dirs[0])]
    return [Followed(f"{job_id}_{number}", run_dir) for number, run_dir in enumerate(run_dirs)]


def _write(plan: Plan) -> None:
    check_path(plan.folder)
    try:
        plan.folder.mkdir(parents=True)
    except FileExistsError as error:
        raise ConfigError(f"{plan.folder} was made by another submission just now; give this one its own run.dir, or try again") from error
    except OSError as error:
        raise MachineError(f"cannot create {plan.folder}: {error.strerror}; choose another folder with run.dir=PATH") from error
    for name, content in plan.files.items():
        (plan.folder / name).write_text(content)
    write_spec(plan.spec, folder=plan.folder)
    take_snapshot(SOURCE, to=plan.folder / "code")


def _refuse_second(launch: Path) -> None:
    """A run folder has one job at a time; training itself refuses too, but only when the second one starts."""
    for path in sorted(launch.glob("*/job_id")):
        job_id = path.read_text().strip()
        state, place = queue_state(job_id)
        if state and state not in OVER:
            raise ConfigError(
                f"job {job_id} on {launch.parent} is {state} ({place}); wait for it, end it with: scancel {job_id}, or give this run its own folder "
                "with run.dir=PATH"
            )
