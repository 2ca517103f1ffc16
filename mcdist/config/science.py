"""Science: which settings make another experiment. A run folder holds one experiment.

`data.train` is none of them: a run knows its samples by content, wherever they are (`mcdist.data.readers.content`), and so its given groups.
"""

from typing import Any

from mcdist.config.config import Config
from mcdist.config.file import load_config
from mcdist.config.keys import as_flat, check_key, known_keys
from mcdist.errors import ConfigError
from mcdist.run_dir import RunDir, list_checkpoints

SCIENCE_SECTIONS = ("views", "model", "loss", "groups", "optim")
SCIENCE_KEYS = ("run.seed", "data.block", "data.num_lanes", "data.bad_samples", "checkpoint.init_from")
EFFICIENCY_KEYS = (
    "views.cache_dir",
    "views.cache_dtype",
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
BY_CONTENT = ("groups.given",)
"""Where something is whose content is compared instead, when a run is continued."""
SAME_VALUES = {"model.num_stages": (0, 5)}
"""Values of a key that mean the same: 0 is all blocks, which older runs wrote as the 5 stages of a CNN. Where that is wrong (a ViT of which 5
blocks were used), the checkpoint does not fit the model, which is an error of its own."""


def science_keys() -> list[str]:
    """Every setting that decides which experiment a run is, in order."""
    others = (*EFFICIENCY_KEYS, *BY_CONTENT)
    return [key for key in known_keys() if key in SCIENCE_KEYS or (key.partition(".")[0] in SCIENCE_SECTIONS and key not in others)]


def science_differences(before: Config, now: Config) -> dict[str, str]:
    """`{key: "old -> new"}` of every setting that would make `now` another experiment than `before`."""
    old, new = as_flat(before), as_flat(now)
    return {key: f"{old.get(key)} -> {new[key]}" for key in science_keys() if not _same(key, old.get(key), new[key])}


def _same(key: str, old: Any, new: Any) -> bool:
    return old == new or (key in SAME_VALUES and {old, new} == set(SAME_VALUES[key]))


def check_same_science(config: Config, run_dir: RunDir) -> list[str]:
    """A run folder holds one experiment: only efficiency and orchestration may change between its starts, and what `run.allow_changes` names.

    Returns:
        `key: old -> new` of what changed and is allowed to.

    Raises:
        ConfigError: the folder's run has a checkpoint and other science, or `run.allow_changes` names what is not science.
    """
    for key in config.run.allow_changes:
        if key not in science_keys():
            check_key(key, where="run.allow_changes")
            raise ConfigError(f"run.allow_changes names {key}, which may change at any start; remove it from the list")
    if not run_dir.config.is_file() or not list_checkpoints(run_dir.checkpoints):
        return []
    changed = science_differences(load_config(run_dir.config), config)
    refused = [key for key in changed if key not in config.run.allow_changes]
    if refused:
        raise ConfigError(
            f"{run_dir.root} holds a run with other settings ({_listed(changed, keys=refused)}); continue it with its own, choose another folder with "
            f"run.dir=PATH, start from its weights with checkpoint.init_from={run_dir.root}, or change the run on purpose, which its log notes: "
            f"run.allow_changes=[{','.join(changed)}]"
        )
    return [f"{key}: {change}" for key, change in changed.items()]


def _listed(changed: dict[str, str], *, keys: list[str]) -> str:
    return "; ".join(f"{key}: {changed[key]}" for key in keys)
