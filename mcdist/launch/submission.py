"""Submission: from a Cluster and a JobSpec to the batch script, and to SLURM, through submitit.

submitit writes the script, calls sbatch and reads the job's id. What runs in the script is mcdist/launch/job.py instead of submitit's pickled function:
nothing is pickled, and what becomes of the job is decided after srun. Text of users is in `setup` only; every other value was checked and is quoted.
"""

import re
import shlex
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mcdist.errors import ConfigError, MachineError, MissingExtraError
from mcdist.launch.cluster import Cluster

_PLAIN_PATH = re.compile(r"[A-Za-z0-9_./+=,@:~ -]+")
STEP_OPTIONS = ("--open-mode=append", "--kill-on-bad-exit=1")


@dataclass(frozen=True, slots=True)
class Request:
    """Everything that SLURM is asked for."""

    name: str
    folder: Path
    cluster: Cluster
    num_elements: int = 0
    """Elements of a job array; 0: no array."""
    after: str = ""
    """Id of a job that has to end well before."""


def batch_text(request: Request) -> str:
    """The batch script, as it is submitted with sbatch."""
    return str(_executor(request)._make_submission_file_text(_task_command(request), ""))


def submit(request: Request) -> str:
    """Give the script to SLURM. Returns the job's id.

    Raises:
        MachineError: SLURM refused, in its own words.
    """
    import submitit

    executor = _executor(request)
    try:
        return str(executor._submit_command(_task_command(request)).job_id)
    except (submitit.core.utils.FailedJobError, submitit.core.utils.FailedSubmissionError) as error:
        words = [line for line in str(error).splitlines() if "sbatch:" in line] or [str(error).splitlines()[-1]]
        raise MachineError(f"SLURM refused the job: {' '.join(words)}; {request.folder}/submission.sh is what it was given") from error


def _executor(request: Request) -> Any:
    try:
        import submitit
    except ImportError as error:
        raise MissingExtraError("SLURM jobs are submitted through submitit, which is not installed; install it with: pip install 'mcdist[slurm]'") from error

    class Executor(submitit.SlurmExecutor):  # type: ignore[misc]
        """submitit's, also where srun is missing: a script can be written anywhere."""

        @classmethod
        def affinity(cls) -> int:
            return 2

    check_path(request.folder)
    executor = Executor(folder=request.folder)
    executor.update_parameters(**_parameters(request))
    if request.num_elements:
        executor.parameters["map_count"] = request.num_elements
    return executor


def _parameters(request: Request) -> dict[str, Any]:
    cluster = request.cluster
    python, folder = _python(cluster), shlex.quote(str(request.folder))
    wanted: dict[str, Any] = {
        "partition": cluster.partition,
        "account": cluster.account,
        "qos": cluster.qos,
        "constraint": cluster.constraint,
        "exclude": cluster.exclude,
        "comment": cluster.comment,
        "gpus_per_node": cluster.gpus_per_node,
        "cpus_per_task": cluster.cpus_per_task,
        "dependency": f"afterok:{request.after}" if request.after else "",
    }
    code = shlex.quote(str(request.folder / "code"))
    on_first_node = [f"export PYTHONPATH={code}${{PYTHONPATH:+:$PYTHONPATH}} PYTHONSAFEPATH=1"]
    return {
        **{name: value for name, value in wanted.items() if value},
        "job_name": request.name,
        "nodes": cluster.nodes,
        "ntasks_per_node": cluster.num_tasks_per_node,
        "time": cluster.time_min,
        "signal_delay_s": cluster.signal_delay_s,
        "wckey": None,
        "stderr_to_stdout": True,
        "additional_parameters": {"requeue": True, "kill-on-invalid-dep": "yes", **({"mem": cluster.mem} if cluster.mem else {})},
        "setup": [*cluster.setup.splitlines(), *on_first_node, f"{python} -m mcdist.launch.job prepare {folder} || exit $?"],
        "srun_args": [*STEP_OPTIONS, *_step_cores(cluster), *_container_options(request)],
        "teardown": [f"exec {python} -m mcdist.launch.job settle {folder} $?"],
    }


def _task_command(request: Request) -> str:
    image = [] if request.cluster.container_kind != "apptainer" else ["apptainer", "exec", "--nv", "--bind", str(_outside(request)), request.cluster.container]
    python = "python" if request.cluster.container else sys.executable
    return shlex.join([*image, python, "-u", "-m", "mcdist.launch.job", "task", str(request.folder)])


def _step_cores(cluster: Cluster) -> list[str]:
    """Said to srun too: since SLURM 22.05 a step does not take it from its job, and each task would be bound to one core."""
    return [f"--cpus-per-task={cluster.cpus_per_task}"] if cluster.cpus_per_task else []


def _container_options(request: Request) -> list[str]:
    if request.cluster.container_kind != "pyxis":
        return []
    here = str(_outside(request))
    return [f"--container-image={request.cluster.container}", f"--container-mounts={here}:{here}", f"--container-workdir={here}"]


def _outside(request: Request) -> Path:
    """What a container sees of the outside, under its own name: the folder the job is submitted from."""
    return Path.cwd()


def _python(cluster: Cluster) -> str:
    """On the first node, outside any container."""
    return shlex.quote(sys.executable)


def check_path(path: Path) -> None:
    """Raises ConfigError where a path could mean something to SLURM or to a shell; sbatch expands % and ends a line at a line break."""
    if not _PLAIN_PATH.fullmatch(str(path)):
        raise ConfigError(
            f"the path of a run folder on a cluster may contain only letters, digits, spaces and ._+=,@:~-, got {str(path)!r}; choose another run.dir"
        )
