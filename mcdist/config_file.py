"""Config files: YAML and `key=value` hold differences, and become a Config.

Precedence: defaults < file < key=value. An unknown key or a wrong type is an error that names file, line and the nearest key.
"""

import difflib
import re
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any

import yaml
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from mcdist.config import Config
from mcdist.errors import ConfigError
from mcdist.run_dir import RunDir, list_checkpoints


class _Loader(yaml.SafeLoader):
    """YAML 1.2's plain values: only true and false are booleans (so that `mlflow: off` is a text), and 1e-4 is a number."""


_OLD_TAGS = ("tag:yaml.org,2002:bool", "tag:yaml.org,2002:float")
_Loader.yaml_implicit_resolvers = {
    first: [pair for pair in pairs if pair[0] not in _OLD_TAGS] for first, pairs in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
_Loader.add_implicit_resolver("tag:yaml.org,2002:bool", re.compile(r"^(?:true|True|TRUE|false|False|FALSE)$"), list("tTfF"))
_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float", re.compile(r"^[-+]?(?:[0-9]+\.[0-9]*|\.[0-9]+|[0-9]+(?=[eE]))(?:[eE][-+]?[0-9]+)?$"), list("-+.0123456789")
)


def load_config(path: Path, *, overrides: list[str] | None = None) -> Config:
    """Defaults < `path` < `overrides` (each `section.key=value`, value in YAML).

    Raises:
        ConfigError: no such file, not YAML, an unknown key, a wrong type or a value out of range: with place and nearest key.
    """
    merged = _defaults()
    merged = _merge_file(merged, path)
    for override in overrides or []:
        merged = _merge_override(merged, override)
    return _to_config(merged, where=str(path))


def dump_config(config: Config) -> str:
    """The whole configuration as YAML, every key written out."""
    return str(OmegaConf.to_yaml(OmegaConf.structured(config)))


def as_flat(config: Config) -> dict[str, Any]:
    """`{"section.key": value}` over all settings, for comparison and tracking."""
    return {key: value for key, value in _flatten(OmegaConf.to_container(OmegaConf.structured(config)), prefix="")}


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


def science_differences(before: Config, now: Config) -> list[str]:
    """`key: old -> new` of every setting that would make `now` another experiment than `before`."""
    old, new = as_flat(before), as_flat(now)
    science = [key for key in new if key in SCIENCE_KEYS or (key.partition(".")[0] in SCIENCE_SECTIONS and key not in EFFICIENCY_KEYS)]
    return [f"{key}: {old.get(key)} -> {new[key]}" for key in science if old.get(key) != new[key]]


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


def _flatten(content: Any, *, prefix: str) -> list[tuple[str, Any]]:
    if isinstance(content, dict) and content and prefix not in ("evaluate.classes.", "deepspeed."):
        return [pair for key, value in content.items() for pair in _flatten(value, prefix=f"{prefix}{key}.")]
    return [(prefix[:-1], content)]


def _defaults() -> DictConfig:
    defaults = OmegaConf.structured(Config())
    _set_writable(defaults)
    return defaults


def _set_writable(node: DictConfig) -> None:
    """Frozen dataclasses make read-only nodes; merging wants them open. The result is a frozen dataclass again."""
    OmegaConf.set_readonly(node, False)
    for key in node:
        if isinstance(node._get_node(key), DictConfig):
            _set_writable(node[key])


def _merge_file(merged: DictConfig, path: Path) -> DictConfig:
    try:
        text = path.read_text()
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is no text"
        raise ConfigError(f"cannot read the configuration {path}: {reason}; the ones that come with mcdist are in configs/") from error
    try:
        tree, content = yaml.compose(text, Loader=_Loader), yaml.load(text, Loader=_Loader)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        raise ConfigError(f"{path}:{mark.line + 1 if mark else 1} is not YAML: {getattr(error, 'problem', error)}") from error
    if content is None:
        return merged
    if not isinstance(content, dict):
        raise ConfigError(f"{path}:1 wants sections like `model:`, got {type(content).__name__}")
    for dotted, line, value in _leaves(tree, content):
        _check_key(dotted, where=f"{path}:{line}")
        merged = _set(merged, dotted, value, where=f"{path}:{line}")
    return merged


def _merge_override(merged: DictConfig, override: str) -> DictConfig:
    where = f"the argument {override!r}"
    dotted, separator, text = override.partition("=")
    if not separator:
        raise ConfigError(f"{where} wants the form section.key=value")
    try:
        value = yaml.load(text, Loader=_Loader) if text else ""
    except yaml.YAMLError as error:
        raise ConfigError(f"{where}: the value is not YAML ({getattr(error, 'problem', error)})") from error
    _check_key(dotted, where=where)
    return _set(merged, dotted, value, where=where)


def _leaves(tree: Any, content: dict, prefix: str = "") -> list[tuple[str, int, Any]]:
    """(dotted key, line, value) of every setting; `evaluate.classes` and `deepspeed` are one value each, not a section."""
    found = []
    for key_node, value_node in tree.value:
        key = int(key_node.value) if key_node.tag.endswith("int") else key_node.value
        dotted, value = f"{prefix}{key}", content[key]
        if isinstance(value, dict) and not prefix and key != "deepspeed":
            found += _leaves(value_node, value, f"{dotted}.")
        else:
            found.append((dotted, key_node.start_mark.line + 1, value))
    return found


def known_keys() -> list[str]:
    """Every `section.key`, in order."""
    keys, defaults = [], Config()
    for section in fields(Config):
        default = getattr(defaults, section.name)
        keys += [f"{section.name}.{key.name}" for key in fields(default)] if is_dataclass(default) else [section.name]
    return keys


def _check_key(dotted: str, *, where: str) -> None:
    keys = known_keys()
    if dotted in keys:
        return
    near = difflib.get_close_matches(dotted, keys, n=1, cutoff=0.0)
    section = dotted.partition(".")[0] + "."
    listed = [key for key in keys if key.startswith(section)] or sorted({key.partition(".")[0] for key in keys})
    raise ConfigError(f"unknown key {dotted!r} in {where}; did you mean {near[0]!r}? keys: {', '.join(listed)}")


def _set(merged: DictConfig, dotted: str, value: Any, *, where: str) -> DictConfig:
    section, _, key = dotted.partition(".")
    current = merged[section][key] if key else merged[section]
    _check_type(dotted, value, current, where=where)
    try:
        target = merged[section] if key else merged
        if isinstance(value, dict):
            target[key or section] = OmegaConf.create({str(name): ids for name, ids in value.items()})
        else:
            target[key or section] = value
    except OmegaConfBaseException as error:
        raise ConfigError(f"{dotted} in {where}: {str(error).splitlines()[0]}") from error
    return merged


def _check_type(dotted: str, value: Any, current: Any, *, where: str) -> None:
    """OmegaConf would turn 3 into "3" and "3" into 3; here a wrong type is an error."""
    wanted = {bool: "true or false", int: "a whole number", float: "a number", str: "a text"}.get(type(current))
    if wanted is None:
        return
    fits = (isinstance(value, type(current)) and not (isinstance(value, bool) and not isinstance(current, bool))) or (
        isinstance(current, float) and isinstance(value, int) and not isinstance(value, bool)
    )
    if not fits:
        raise ConfigError(f"{dotted} in {where} wants {wanted}, got {value!r}")


def _to_config(merged: DictConfig, *, where: str) -> Config:
    try:
        config = OmegaConf.to_object(merged)
    except ConfigError as error:
        raise ConfigError(f"{error} (in {where} or an argument)") from error
    except OmegaConfBaseException as error:
        raise ConfigError(f"{where}: {str(error).splitlines()[0]}") from error
    assert isinstance(config, Config)
    return config
