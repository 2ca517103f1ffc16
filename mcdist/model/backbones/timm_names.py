"""timm's names: which networks of timm there are, and the nearest one to a name that is mistyped. `vit`, `pyramid` and this file are timm's only home."""

import difflib
from typing import Any

from mcdist.errors import ConfigError, MissingExtraError

PREFIX = "timm/"
"""A backbone's name is this and timm's name of the network."""

FAMILIES = ("vision_transformer", "eva", "deit", "resnet", "convnext")
"""timm's modules whose networks are suggested for a name that is mistyped."""


def check_name(name: str) -> None:
    """Raise ConfigError with the nearest name unless timm knows the network, MissingExtraError where timm is not installed."""
    timm = import_timm(name)
    own = name.removeprefix(PREFIX)
    if not timm.is_model(own):
        near = PREFIX + _nearest(own, among=_names(timm))
        raise ConfigError(f"unknown backbone {name!r}: timm has no such network; did you mean {near!r}?")
    architecture, _, tag = own.partition(".")
    tagged = timm.list_models(f"{architecture}.*", pretrained=True)
    if tag and own not in tagged:
        near = PREFIX + _nearest(own, among=[architecture, *tagged])
        raise ConfigError(f"unknown backbone {name!r}: timm has no such weights of {architecture}; did you mean {near!r}?")


def known_names() -> list[str]:
    """Usual networks of timm as names of backbones; none where timm is not installed."""
    try:
        import timm
    except ImportError:
        return []
    return [PREFIX + name for name in _names(timm)]


def import_timm(name: str) -> Any:
    """timm, for the backbone `name`."""
    try:
        import timm
    except ImportError as error:
        raise MissingExtraError(f"the backbone {name} needs timm; pip install 'mcdist[vit]'") from error
    return timm


def _names(timm: Any) -> list[str]:
    return [name for family in FAMILIES for name in timm.list_models(module=family)]


def _nearest(name: str, *, among: list[str]) -> str:
    return difflib.get_close_matches(name, among, n=1, cutoff=0.0)[0]
