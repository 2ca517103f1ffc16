"""What SLURM says: whether there is a cluster, what it offers, what became of a job. Each question is one command with a time limit."""

import re
import shutil
import subprocess
from dataclasses import dataclass

from mcdist.errors import ConfigError
from mcdist.launch.cluster import Cluster, minutes_of

TIMEOUT_S = 30.0


def ask(*command: str) -> str | None:
    """What the command prints; None where it is missing, fails or does not answer in time."""
    try:
        return subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT_S, check=True, stdin=subprocess.DEVNULL).stdout
    except (OSError, subprocess.SubprocessError):
        return None


def why_no_slurm() -> str:
    """ "" where a SLURM cluster is here and answers; else the reason. Installed but dead counts as none."""
    if shutil.which("sbatch") is None:
        return "there is no sbatch here"
    answer = ask("scontrol", "ping")
    if answer is None or " UP" not in answer:
        return "SLURM is installed here, but its controller does not answer"
    return ""


def queue_state(job_id: str) -> tuple[str, str]:
    """(state, node list or reason) as squeue has it; ("", "") where the queue does not know the job."""
    answer = ask("squeue", "-h", "-a", "-j", job_id, "-o", "%T|%R")
    lines = [line for line in (answer or "").splitlines() if "|" in line]
    if not lines:
        return "", ""
    state, _, place = lines[0].partition("|")
    return state, place.strip()


def job_facts(job_id: str) -> dict[str, str]:
    """`scontrol show job` as a dictionary; {} where the controller does not know the job."""
    answer = ask("scontrol", "show", "job", "-o", job_id)
    return dict(re.findall(r"(\w+)=(\S*)", answer)) if answer else {}


@dataclass(frozen=True, slots=True)
class Partition:
    """A partition's limits, over its nodes."""

    name: str
    is_default: bool
    max_time_min: float
    num_nodes: int
    cpus: int
    gpus: int


def partitions() -> list[Partition]:
    """What `sinfo` lists; [] where it does not answer."""
    found: dict[str, Partition] = {}
    for line in (ask("sinfo", "-h", "-a", "-N", "-o", "%P|%l|%c|%G|%N") or "").splitlines():
        name, limit, cpus, gres, _ = (line.split("|", 4) + [""] * 5)[:5]
        default, name = name.endswith("*"), name.rstrip("*")
        before = found.get(name, Partition(name, default, 0.0, 0, 0, 0))
        gpus = sum(int(number) for number in re.findall(r"gpu:(?:[A-Za-z][^:,(]*:)?(\d+)", gres))
        max_time_min = float("inf") if limit in ("infinite", "n/a") else float(minutes_of(limit))
        found[name] = Partition(name, default, max_time_min, before.num_nodes + 1, max(before.cpus, int(re.sub(r"\D", "", cpus) or 0)), max(before.gpus, gpus))
    return list(found.values())


def refuse_impossible(cluster: Cluster, *, known: list[Partition]) -> None:
    """Raises ConfigError for a request that no partition can ever meet. Where sinfo says nothing, sbatch has the word."""
    if not known:
        return
    chosen = [part for part in known if part.name in cluster.partition.split(",")] if cluster.partition else [part for part in known if part.is_default]
    if cluster.partition and not chosen:
        raise ConfigError(f"--partition {cluster.partition} is not one of this cluster's: {', '.join(part.name for part in known)} (sinfo lists them)")
    if not chosen:
        return
    limits = (
        ("--nodes", cluster.nodes, max(part.num_nodes for part in chosen), "nodes"),
        ("--gpus-per-node", cluster.gpus_per_node, max(part.gpus for part in chosen), "GPUs a node"),
        ("--cpus-per-task x tasks a node", (cluster.cpus_per_task or 1) * cluster.num_tasks_per_node, max(part.cpus for part in chosen), "CPUs a node"),
        ("--time in minutes", cluster.time_min, max(part.max_time_min for part in chosen), "minutes"),
    )
    for option, wanted, most, unit in limits:
        if wanted > most:
            names = ", ".join(part.name for part in chosen)
            raise ConfigError(f"{option} {wanted} is more than partition {names} has: {most:g} {unit} (sinfo); ask for less, or name another --partition")
