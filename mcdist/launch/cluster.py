"""Cluster: what is asked of the machines, as plain values that are checked before SLURM sees them. Presets are files in configs/cluster."""

import re
from dataclasses import dataclass, fields, replace
from typing import Any

from mcdist.choices import did_you_mean
from mcdist.config.presets import presets_folder
from mcdist.errors import ConfigError
from mcdist.yaml_text import read_yaml

PRESETS = presets_folder() / "cluster"

_NAME = re.compile(r"[A-Za-z0-9_.,:=@+/\[\]&|()*-]+")
_IMAGE = re.compile(r"[A-Za-z0-9_.:/@+#-]+")
_MEMORY = re.compile(r"\d+[KMGT]?")
_TIME = re.compile(r"(?:(\d+)-)?(\d+)(?::(\d+))?(?::(\d+))?")


@dataclass(frozen=True, slots=True)
class Cluster:
    """A request. Nothing here changes what a run computes; 0 and "" leave a choice to SLURM."""

    nodes: int = 1
    tasks_per_node: int = 0
    """Ranks a node; 0: one for each GPU, or one."""
    gpus_per_node: int = 0
    cpus_per_task: int = 0
    mem: str = ""
    """Memory a node, as SLURM writes it: 64G."""
    time: str = "60"
    """Minutes, HH:MM:SS or D-HH:MM:SS, as SLURM writes it."""
    partition: str = ""
    account: str = ""
    qos: str = ""
    constraint: str = ""
    exclude: str = ""
    comment: str = ""
    setup: str = ""
    """Shell lines that run on the first node before anything else, such as "module load cuda". The one place where text becomes shell."""
    container: str = ""
    """A registry's image or a .sqsh file (pyxis and enroot), or a .sif file (apptainer)."""
    signal_delay_s: int = 90
    """Seconds before the time limit at which the ranks are asked to save; SLURM may ask up to a minute earlier."""

    def __post_init__(self) -> None:
        for name, least in (("nodes", 1), ("tasks_per_node", 0), ("gpus_per_node", 0), ("cpus_per_task", 0), ("signal_delay_s", 1)):
            value = getattr(self, name)
            if not isinstance(value, int) or isinstance(value, bool) or value < least:
                raise ConfigError(f"{_option(name)} must be a whole number of at least {least}, got {value!r}")
        for name, pattern, expected in _PATTERNS:
            value = getattr(self, name)
            if not isinstance(value, str) or (value and not pattern.fullmatch(value)) or value.startswith("-"):
                raise ConfigError(f"{_option(name)} must be {expected}, got {value!r}")
        if "\0" in self.setup:
            raise ConfigError("--setup must be shell lines, got a text with a NUL character")
        if self.time_min < 1:
            raise ConfigError(f"--time must be at least one minute, got {self.time!r}")

    @property
    def num_tasks_per_node(self) -> int:
        """Ranks a node."""
        return self.tasks_per_node or self.gpus_per_node or 1

    @property
    def num_ranks(self) -> int:
        """Ranks of the job."""
        return self.nodes * self.num_tasks_per_node

    @property
    def time_min(self) -> int:
        """The time limit in minutes, rounded up."""
        return minutes_of(self.time)

    @property
    def container_kind(self) -> str:
        """pyxis, apptainer, or "" without a container."""
        if not self.container:
            return ""
        return "apptainer" if self.container.endswith(".sif") or self.container.startswith("docker://") else "pyxis"


_PATTERNS = (
    ("partition", _NAME, "a partition's name"),
    ("account", _NAME, "an account's name"),
    ("qos", _NAME, "a quality of service's name"),
    ("constraint", _NAME, "features such as a100|h100"),
    ("exclude", _NAME, "node names such as node[3,7-9]"),
    ("comment", re.compile(r"[^\"'\\`$\x00-\x1f\x7f-\uffff]+"), "one plain line without quotes, backslashes or $"),
    ("container", _IMAGE, "an image such as nvcr.io#nvidia/pytorch:24.10-py3 or image.sif"),
    ("mem", _MEMORY, "memory as SLURM writes it, such as 64G"),
    ("time", _TIME, "minutes, HH:MM:SS or D-HH:MM:SS"),
)


def minutes_of(text: str) -> int:
    """SLURM's time in minutes, rounded up: M, M:S, H:M:S, D-H, D-H:M or D-H:M:S."""
    found = _TIME.fullmatch(text)
    if found is None:
        raise ConfigError(f"--time must be minutes, HH:MM:SS or D-HH:MM:SS, got {text!r}")
    days, *parts = found.groups()
    numbers = [int(part) for part in parts if part is not None]
    if days is not None:
        hours, minutes, seconds = (numbers + [0, 0])[:3]
    elif len(numbers) == 3:
        hours, minutes, seconds = numbers
    else:
        hours, minutes, seconds = 0, *(numbers + [0])[:2]
    return (int(days or 0) * 24 + hours) * 60 + minutes + (seconds > 0)


def load_preset(name: str, *, changes: dict[str, Any]) -> Cluster:
    """The preset configs/cluster/NAME.yaml (or none for ""), with `changes` over it.

    Raises:
        ConfigError: no such preset, an unknown key, or a value that is not allowed.
    """
    content: dict[str, Any] = {}
    if name:
        content = _read_preset(name)
    unknown = sorted(set(content) - {field.name for field in fields(Cluster)})
    if unknown:
        keys = [field.name for field in fields(Cluster)]
        raise ConfigError(f"unknown key {unknown[0]!r} in {PRESETS / name}.yaml; {did_you_mean(unknown[0], keys)}keys: {', '.join(keys)}")
    texts: dict[str, Any] = {key: str(value) if key in ("time", "mem") else value for key, value in content.items()}
    return replace(Cluster(), **texts | changes)


def _read_preset(name: str) -> dict[str, Any]:
    listed = sorted(path.stem for path in PRESETS.glob("*.yaml"))
    if name not in listed:
        hint = did_you_mean(name, ["auto", "local", *listed])
        raise ConfigError(
            f"--cluster must be auto, local or one of {', '.join(listed)} (files in {PRESETS}), got {name!r}{'; ' if hint else ''}{hint.rstrip()}"
        )
    content = read_yaml((PRESETS / f"{name}.yaml").read_text(), where=str(PRESETS / f"{name}.yaml")) or {}
    if not isinstance(content, dict):
        raise ConfigError(f"{PRESETS / name}.yaml must hold keys such as `nodes: 4`, got {type(content).__name__}")
    return content


def _option(name: str) -> str:
    return "--" + name.replace("_", "-")
