"""Science: which settings make another experiment. A run folder holds one experiment."""

from typing import Any

from mcdist.config.config import Config
from mcdist.config.file import load_config
from mcdist.config.keys import as_flat
from mcdist.errors import ConfigError
from mcdist.run_dir import RunDir, list_checkpoints

SCIENCE_SECTIONS = ("views", "model", "loss", "optim")
SCIENCE_KEYS = ("run.seed", "data.train", "data.block", "data.num_lanes", "data.bad_samples", "checkpoint.init_from")
EFFICIENCY_KEYS = (
    "model.recompute",
    "optim.accumulation_steps",
    "optim.micro_batch",
    "optim.precision",
    "optim.engine",
    "optim.zero_stage",
    "optim.offload_optimizer",
    "optim.gradient_exchange",
    "optim.bucket_mib",
    "optim.compile",
    "optim.compile_mode",
    "optim.max_nonfinite",
)
"""Keys of science sections that change speed and rounding only."""
SAME_VALUES = {"model.num_stages": (0, 5)}
"""Values of a key that mean the same: 0 is all blocks, which older runs wrote as the 5 stages of a CNN. Where that is wrong (a ViT of which 5
blocks were used), the checkpoint does not fit the model, which is an error of its own."""


def science_differences(before: Config, now: Config) -> list[str]:
    """`key: old -> new` of every setting that would make `now` another experiment than `before`."""
    old, new = as_flat(before), as_flat(now)
    science = [key for key in new if key in SCIENCE_KEYS or (key.partition(".")[0] in SCIENCE_SECTIONS and key not in EFFICIENCY_KEYS)]
    return [f"{key}: {old.get(key)} -> {new[key]}" for key in science if not _same(key, old.get(key), new[key])]


def _same(key: str, old: Any, new: Any) -> bool:
    return old == new or (key in SAME_VALUES and {old, new} == set(SAME_VALUES[key]))


def check_same_science(config: Config, run_dir: RunDir) -> None:
    """A run folder holds one experiment: only efficiency and orchestration may change between its starts.

    Raises:
        ConfigError: the folder's run has a checkpoint and other science.
    """
    if not run_dir.config.is_file() or not list_checkpoints(run_dir.checkpoints):
        return
    changed = science_differences(load_config(run_dir.config), config)
    if changed:
        raise ConfigError(
            f"{run_dir.root} holds a run with other settings ({'; '.join(changed)}); give this one its own folder with run.dir=PATH, "
            f"or start from its weights with checkpoint.init_from={run_dir.root}"
        )
