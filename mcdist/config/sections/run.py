"""Section `run`: where a run is kept, on what it runs, and how its ranks meet."""

from dataclasses import dataclass, field

from mcdist.choices import AllocatorChoice, Device
from mcdist.config.checks import at_least, check_fields, require, written_out


@dataclass(frozen=True, slots=True)
class RunConfig:
    """Orchestration, and the two settings that make a run repeatable."""

    dir: str = "runs/default"
    """Folder of the run; the same command continues it."""
    seed: int = 0
    deterministic: bool = False
    """Science-neutral, slower: the same bits again on the same machine and number of ranks."""
    device: Device = "auto"
    """auto | cpu | cuda."""
    num_threads: int = 0
    """CPU threads per rank; 0: the cores that SLURM gave the task, else those of the machine, or as many as its container allows, divided among its ranks.
    Logical processors that share a physical core count once, and of a hybrid processor the fast cores alone."""
    allocator: AllocatorChoice = "auto"
    """auto: glibc's malloc keeps the memory that torch frees, which saves page faults. system: malloc stays as the system has it. MCDIST_ALLOCATOR=system
    is the same for every command."""
    rendezvous_timeout_s: int = 300
    """How long the ranks may take to meet; after that the missing ones are named."""
    collective_timeout_s: int = 600
    """How long any one exchange between the ranks may take before the run counts as hung."""
    network_interface: str = ""
    """Interface over which the ranks talk, such as ib0, where a node has several; empty: the libraries choose."""
    hang_timeout_s: float = 600.0
    """A rank that finishes no step for this long writes its threads' stacks down and leaves with exit code 7; the first step may take three
    times as long. 0: never. It must be longer than a step and the writing of a checkpoint."""
    lease_s: float = 60.0
    """How long the job that holds the run folder may be silent before another one takes over. A job that is known to be dead is not waited for."""
    allow_changes: list[str] = field(default_factory=list)
    """Settings of the science that this start may change in a run that has checkpoints, such as [optim.lr]; its log notes each change."""
    max_attempts_without_progress: int = 3
    """After this many starts in a row without a new checkpoint a launcher stops starting the run; a cluster's notice always leads to another start."""

    def __post_init__(self) -> None:
        check_fields(self, section="run")
        require(bool(self.dir.strip()), "run.dir must name a folder, got nothing; for example run.dir=runs/first")
        written_out("run.dir", self.dir)
        at_least("run.seed", self.seed, 0)
        at_least("run.num_threads", self.num_threads, 0)
        at_least("run.rendezvous_timeout_s", self.rendezvous_timeout_s, 1)
        at_least("run.collective_timeout_s", self.collective_timeout_s, 1)
        at_least("run.hang_timeout_s", self.hang_timeout_s, 0)
        at_least("run.lease_s", self.lease_s, 1)
        at_least("run.max_attempts_without_progress", self.max_attempts_without_progress, 1)
        require(
            self.lease_s < self.collective_timeout_s,
            f"run.lease_s must be < run.collective_timeout_s {self.collective_timeout_s}, got {self.lease_s}: "
            "all ranks wait while rank 0 waits for a lease to end",
        )
