"""Place: which rank this process is, of how many, and where they meet, read from what a launcher left in the environment. No torch here.

torchrun and the deepspeed launcher say it all themselves; tasks of a SLURM step (srun, submitit) and of submitit's local executor say
who they are, and where they meet follows from that; anything else is one process.
"""

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass

from mcdist.errors import ConfigError

LAUNCHER_VARIABLES = ("RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")
SLURM_VARIABLES = ("SLURM_JOB_ID", "SLURM_STEP_ID", "SLURM_STEP_NUM_TASKS", "SLURM_PROCID", "SLURM_LOCALID", "SLURM_STEP_NODELIST")
LOCAL_VARIABLES = ("SUBMITIT_LOCAL_JOB_ID", "SUBMITIT_LOCAL_NTASKS", "SUBMITIT_LOCAL_GLOBALID", "SUBMITIT_LOCAL_LOCALID")

FIRST_PORT, NUM_PORTS = 15_000, 17_000
"""Ports that are computed, not given: below 32,768, where Linux starts to hand out its own."""


@dataclass(frozen=True, slots=True)
class Place:
    """This process among `num_ranks`, `ranks_here` of them on this node; they meet at `address`:`port`, empty and 0 for one process alone.

    `session` is another word for each start of the ranks: one that is left over from an earlier attempt meets nobody. `store_is_served`: the
    launcher itself listens at the address (torchrun does), so rank 0 need not. `num_cores`: what SLURM gave this task; 0 where nobody said.
    """

    rank: int = 0
    num_ranks: int = 1
    local_rank: int = 0
    ranks_here: int = 1
    address: str = ""
    port: int = 0
    launcher: str = "none"
    attempt: int = 0
    session: str = ""
    store_is_served: bool = False
    num_cores: int = 0


def find_place(environment: Mapping[str, str] | None = None) -> Place:
    """This process's place according to `environment` (its own, where None).

    Raises:
        ConfigError: a launcher's variables are there in part, are no numbers or contradict each other.
    """
    found = os.environ if environment is None else environment
    if "RANK" not in found and "SLURM_STEP_ID" in found and "SLURM_PROCID" in found:
        return _of_slurm_step(found)
    if "RANK" not in found and "SUBMITIT_LOCAL_GLOBALID" in found:
        return _of_local_job(found)
    given = [name for name in LAUNCHER_VARIABLES if name in found]
    if not given:
        return Place()
    _require_all(found, LAUNCHER_VARIABLES, remedy="start with torchrun, or unset them to run one process")
    return _checked(_of_launcher(found))


def _of_launcher(found: Mapping[str, str]) -> Place:
    """torchrun, the deepspeed launcher, or whoever sets the same variables."""
    rank, num_ranks = _number(found, "RANK"), _number(found, "WORLD_SIZE")
    attempt, local_rank = _number(found, "TORCHELASTIC_RESTART_COUNT", otherwise=0), _number(found, "LOCAL_RANK", otherwise=0)
    names = {"TORCHELASTIC_RUN_ID": "torchrun", "CROSS_RANK": "deepspeed"}
    return Place(
        rank=rank,
        num_ranks=num_ranks,
        local_rank=local_rank,
        ranks_here=_number(found, "LOCAL_WORLD_SIZE", otherwise=_number(found, "LOCAL_SIZE", otherwise=local_rank + 1)),
        address=found["MASTER_ADDR"],
        port=_number(found, "MASTER_PORT"),
        launcher=next((name for variable, name in names.items() if variable in found), "environment"),
        attempt=attempt,
        session=f"{found.get('TORCHELASTIC_RUN_ID', '')}/{num_ranks}/{attempt}",
        store_is_served=found.get("TORCHELASTIC_USE_AGENT_STORE") == "True",
    )


def _of_slurm_step(found: Mapping[str, str]) -> Place:
    """A task of a job step. A step of one task (an interactive shell, a batch script's own `srun -n1`) is one process."""
    attempt, num_cores = _number(found, "SLURM_RESTART_COUNT", otherwise=0), _number(found, "SLURM_CPUS_PER_TASK", otherwise=0)
    if _number(found, "SLURM_STEP_NUM_TASKS", otherwise=_number(found, "SLURM_NTASKS", otherwise=1)) == 1:
        return Place(launcher="slurm", attempt=attempt, num_cores=num_cores)
    _require_all(found, SLURM_VARIABLES, remedy="start with srun, or unset SLURM_PROCID to run one process")
    job, step = _number(found, "SLURM_JOB_ID"), _number(found, "SLURM_STEP_ID")
    tasks_of_node = slurm_counts(found.get("SLURM_STEP_TASKS_PER_NODE", found["SLURM_STEP_NUM_TASKS"]))
    node = _number(found, "SLURM_NODEID", otherwise=0)
    return _checked(
        Place(
            rank=_number(found, "SLURM_PROCID"),
            num_ranks=_number(found, "SLURM_STEP_NUM_TASKS"),
            local_rank=_number(found, "SLURM_LOCALID"),
            ranks_here=tasks_of_node[node] if node < len(tasks_of_node) else 1,
            address=found.get("MASTER_ADDR") or first_host(found["SLURM_STEP_NODELIST"]),
            port=_number(found, "MASTER_PORT", otherwise=_port_of(job, step, attempt)),
            launcher="slurm",
            attempt=attempt,
            session=f"slurm/{job}.{step}/{attempt}",
            num_cores=num_cores,
        )
    )


def _of_local_job(found: Mapping[str, str]) -> Place:
    """A task of submitit's local executor: all of them are processes of this machine."""
    _require_all(found, LOCAL_VARIABLES, remedy="start with submitit, or unset them to run one process")
    num_ranks, job = _number(found, "SUBMITIT_LOCAL_NTASKS"), _number(found, "SUBMITIT_LOCAL_JOB_ID")
    if num_ranks == 1:
        return Place(launcher="submitit")
    return _checked(
        Place(
            rank=_number(found, "SUBMITIT_LOCAL_GLOBALID"),
            num_ranks=num_ranks,
            local_rank=_number(found, "SUBMITIT_LOCAL_LOCALID"),
            ranks_here=num_ranks,
            address=found.get("MASTER_ADDR") or "127.0.0.1",
            port=_number(found, "MASTER_PORT", otherwise=_port_of(job, 0, 0)),
            launcher="submitit",
            session=f"submitit/{job}",
        )
    )


def first_host(nodes: str) -> str:
    """The first name of a SLURM node list: `gpu[07-09,12],login` -> `gpu07`; of several brackets in a name, the first number of each."""
    first = ""
    for character in nodes.strip():
        if character == "," and first.count("[") == first.count("]"):
            break
        first += character
    name = re.sub(r"\[([0-9]+)[^\]\[]*\]", r"\1", first)
    if not name or "[" in name or "]" in name:
        raise ConfigError(f"expected a node list such as node[1-4] in SLURM_STEP_NODELIST, got {nodes!r}; name rank 0's host with MASTER_ADDR=HOST")
    return name


def slurm_counts(text: str) -> list[int]:
    """SLURM's numbers a node, written out: `2(x3),1` -> [2, 2, 2, 1]."""
    counts: list[int] = []
    for part in text.split(","):
        matched = re.fullmatch(r"(\d+)(?:\(x(\d+)\))?", part)
        if matched is None:
            raise ConfigError(f"expected numbers such as 2(x3),1 in SLURM_STEP_TASKS_PER_NODE, got {text!r}; it is SLURM's own: do not set it")
        counts += [int(matched[1])] * int(matched[2] or 1)
    return counts


def _port_of(job: int, step: int, attempt: int) -> int:
    """The same on all ranks, another for the next job, step and attempt, so that two jobs on a node do not collide."""
    return FIRST_PORT + (job * 61 + step * 7 + attempt) % NUM_PORTS


def _number(found: Mapping[str, str], name: str, *, otherwise: int | None = None) -> int:
    if otherwise is not None and not found.get(name):
        return otherwise
    try:
        number = int(found[name])
    except ValueError:
        number = -1
    if number < 0:
        raise ConfigError(f"expected a number of at least 0 in the environment variable {name}, got {found[name]!r}; it is the launcher's own: do not set it")
    return number


def _require_all(found: Mapping[str, str], names: tuple[str, ...], *, remedy: str) -> None:
    given, missing = [name for name in names if name in found], sorted(name for name in names if name not in found)
    if missing:
        raise ConfigError(f"the environment has {', '.join(given)} but not {', '.join(missing)}; {remedy}")


def _checked(place: Place) -> Place:
    if not place.rank < place.num_ranks or not place.local_rank < max(place.ranks_here, 1) or not 0 < place.port < 2**16:
        raise ConfigError(
            f"the environment contradicts itself: rank {place.rank} of {place.num_ranks}, {place.local_rank} of {place.ranks_here} on this node, "
            f"port {place.port} ({place.launcher}); start all ranks with one launcher"
        )
    return place
