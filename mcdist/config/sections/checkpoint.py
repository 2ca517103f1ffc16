"""Section `checkpoint`: what is kept of a run, and what it starts from."""

from dataclasses import dataclass

from mcdist.choices import BestBy
from mcdist.config.checks import at_least, check_fields, written_out


@dataclass(frozen=True, slots=True)
class CheckpointConfig:
    """Orchestration: what is kept of a run. init_from is science."""

    every_steps: int = 200
    keep: int = 3
    """Newest checkpoints kept; the best one is kept besides."""
    best_by: BestBy = "loss"
    """What the best one has: loss (the lowest mean training loss over an interval) | held_out (the highest score of evaluate.every)."""
    asynchronous: bool = True
    """Written beside the training from a copy in host memory; false: training waits until it is on the disk."""
    init_from: str = ""
    """Run folder or checkpoint whose weights the encoders start from."""

    def __post_init__(self) -> None:
        check_fields(self, section="checkpoint")
        written_out("checkpoint.init_from", self.init_from)
        at_least("checkpoint.every_steps", self.every_steps, 1)
        at_least("checkpoint.keep", self.keep, 1)
