"""Checks that the sections share. Each one raises ConfigError with one sentence: `optim.lr must be > 0, got -1`."""

import math
import re
from typing import Any, Literal, get_origin, get_type_hints

from mcdist.choices import require_choice
from mcdist.errors import ConfigError

INT_LIMIT = 2**63
"""Whole numbers end below it: seeds and counts are 64-bit integers in torch, numpy and C++."""

_VARIABLE = re.compile(r"\$(\w+|\{)")


def require(condition: bool, message: str) -> None:
    """Raise ConfigError(message) unless the condition holds."""
    if not condition:
        raise ConfigError(message)


def at_least(key: str, value: float | int, least: float | int) -> None:
    """`value` must be >= `least`."""
    require(value >= least, f"{key} must be >= {least}, got {value}")


def above(key: str, value: float | int, bound: float | int) -> None:
    """`value` must be > `bound`."""
    require(value > bound, f"{key} must be > {bound}, got {value}")


def share(key: str, value: float | int) -> None:
    """`value` must be a share of 1."""
    require(0.0 <= value <= 1.0, f"{key} must be between 0 and 1, got {value}")


def written_out(key: str, text: str, *, variables: bool = False) -> None:
    """A path must be written out, since no shell reads it; with `variables`, `$NAME` is allowed (and `${NAME}` is not)."""
    require(
        not re.match(r"~[\w.-]*(/|$)", text),
        f"{key} must not begin with ~, which only a shell replaces, got {text!r}; write the home folder out",
    )
    found = _VARIABLE.search(text)
    if found is not None and "://" not in text and not (variables and found.group(1) != "{"):
        instead = "write $NAME without braces" if variables else f"write the path out, or let the shell replace it: {key}=$NAME/... on the command line"
        raise ConfigError(f"{key} must not contain {text[found.start() :]!r}, which only a shell replaces; {instead}")


def check_fields(settings: Any, *, section: str) -> None:
    """What holds for every setting: a choice is one of its names, a number is finite and fits into 64 bits.

    Args:
        settings: a dataclass of settings, whose choices are typed as `Literal`s of `mcdist.choices`.
    """
    for name, kind in kinds_of(type(settings)).items():
        value = getattr(settings, name)
        if get_origin(kind) is Literal:
            require_choice(f"{section}.{name}", value, choices=kind)
        elif isinstance(value, float):
            require(math.isfinite(value), f"{section}.{name} must be a finite number, got {value}")
        elif isinstance(value, int):
            require(-INT_LIMIT < value < INT_LIMIT, f"{section}.{name} must be below 2^63, got {value}")


def kinds_of(settings_type: Any) -> dict[str, Any]:
    """Name -> type of every setting of a dataclass, in order."""
    return get_type_hints(settings_type)
