"""Keys: the dotted names of all settings, and a configuration by them."""

import difflib
from dataclasses import fields, is_dataclass
from functools import cache
from typing import Any

from mcdist.config.checks import kinds_of
from mcdist.config.config import Config
from mcdist.errors import ConfigError


@cache
def kinds_of_settings() -> dict[str, Any]:
    """Dotted key -> type of every setting, in order; `deepspeed` and `schema_version` have no section."""
    kinds: dict[str, Any] = {}
    for name, kind in kinds_of(Config).items():
        kinds |= {f"{name}.{key}": inner for key, inner in kinds_of(kind).items()} if is_dataclass(kind) else {name: kind}
    return kinds


def known_keys() -> list[str]:
    """Every `section.key`, in order."""
    return list(kinds_of_settings())


def section_names() -> list[str]:
    """Names of the sections that hold settings of ours."""
    return [name for name, kind in kinds_of(Config).items() if is_dataclass(kind)]


def as_flat(config: Config) -> dict[str, Any]:
    """`{"section.key": value}` over all settings, for comparison and tracking."""
    flat: dict[str, Any] = {}
    for section in fields(config):
        value = getattr(config, section.name)
        flat |= {f"{section.name}.{key.name}": getattr(value, key.name) for key in fields(value)} if is_dataclass(value) else {section.name: value}
    return flat


def check_key(dotted: str, *, where: str) -> None:
    """Raise ConfigError, which names the nearest key, unless `dotted` is a setting."""
    keys = known_keys()
    if dotted in keys:
        return
    near = difflib.get_close_matches(dotted, keys, n=1, cutoff=0.0)
    section = dotted.partition(".")[0] + "."
    listed = [key for key in keys if key.startswith(section)] or sorted({key.partition(".")[0] for key in keys})
    raise ConfigError(f"unknown key {dotted!r} in {where}; did you mean {near[0]!r}? keys: {', '.join(listed)}")
