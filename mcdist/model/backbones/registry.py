"""Registry: a backbone's name to its maker and its packaged weights. A new backbone is one file beside this one and one line here."""

import difflib
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from torch import nn

from mcdist.choices import PixelStatistics, require_choice
from mcdist.errors import ConfigError
from mcdist.model.backbones import convnext, efficientnet, pyramid, resnet, vit
from mcdist.model.backbones.backbone import Backbone
from mcdist.model.backbones.layouts import Layout
from mcdist.model.backbones.pixels import STATISTICS, name_of
from mcdist.model.backbones.published import PUBLISHED, fetch_published
from mcdist.model.backbones.timm_names import PREFIX, check_name, known_names
from mcdist.model.backbones.vit_variants import VARIANTS
from mcdist.model.backbones.weights import Convert, Loaded, load_weights


@dataclass(frozen=True, slots=True)
class Entry:
    """How a backbone is made: its publisher's network, whose parameter names weights files have, then a Backbone of it.

    `packaged_weights` is the file behind weights=imagenet, `fetch_network` the network with the weights behind weights=hub, and
    `convert_of` turns the names and shapes of a weights file into the network's own, where there are several layouts. `make_undilated`: the
    Backbone with its native strides, where `make_backbone` gives another one. `last_convolution`: beginnings of the names of its parameters, where the
    network has one.
    """

    make_network: Callable[[], nn.Module]
    make_backbone: Callable[[nn.Module], Backbone]
    packaged_weights: Callable[[], Path] | None = None
    fetch_network: Callable[[], nn.Module] | None = None
    convert_of: Callable[[nn.Module], Convert] | None = None
    make_undilated: Callable[[nn.Module], Backbone] | None = None
    last_convolution: tuple[str, ...] = ()


def _torchvision(name: str, *, family: Any) -> Entry:
    """A network of torchvision, whose functions are in the module `family`."""
    network, backbone = (family.resnet_network, family.resnet_backbone) if family is resnet else (family.convnext_network, family.convnext_backbone)
    return Entry(partial(network, name), backbone, fetch_network=partial(network, name, fetch=True), make_undilated=partial(backbone, dilated=False))


BACKBONES = {
    **{name: _torchvision(name, family=resnet) for name in resnet.MAKERS},
    **{name: _torchvision(name, family=convnext) for name in convnext.MAKERS},
    "efficientnet_lite0": Entry(
        efficientnet.efficientnet_lite0_network,
        efficientnet.efficientnet_lite0_backbone,
        packaged_weights=efficientnet.efficientnet_lite0_weights,
        make_undilated=partial(efficientnet.efficientnet_lite0_backbone, dilated=False),
        last_convolution=efficientnet.LAST_CONVOLUTION,
    ),
    **{name: Entry(make, vit.ViT, convert_of=vit.convert_of) for name, make in VARIANTS.items()},
}
"""Our own backbones by name; beside them every network of timm that gives feature maps is found as timm/NAME."""


def make_backbone(name: str, *, weights: str = "none", num_stages: int = 0, dilated: bool = True, statistics: PixelStatistics = "auto") -> Backbone:
    """The backbone `name`, of which the first `num_stages` blocks are used (0: all).

    Args:
        name: one of BACKBONES, or timm/NAME for a network of timm.
        weights: "none" (random), "imagenet" (packaged), "hub" (fetched by torchvision or timm), a name of PUBLISHED, or a .pth or .safetensors file.
        num_stages: at least the blocks that reach the backbone's stride.
        dilated: False for a CNN with its native strides, as it was trained, and with its last convolution where it has one and the weights file holds it.
            A ViT is the same either way.
        statistics: of the pixels; "auto": those that the backbone's name stands for.

    Raises:
        ConfigError: no such backbone, no such weights for it, a weights file that does not fit, one whose layout has other pixel statistics, or a
            number of blocks out of range.
        MissingExtraError: a package that the backbone needs is not installed.
        MachineError: the weights cannot be fetched.
    """
    require_choice("model.pixel_statistics", statistics, choices=PixelStatistics)
    entry = _entry(name, dilated=dilated)
    network, loaded = _network(entry, name=name, weights=weights)
    make = entry.make_backbone if dilated else entry.make_undilated or entry.make_backbone
    backbone = make(network)
    if statistics != "auto":
        backbone.mean, backbone.std = STATISTICS[statistics]
    _check_statistics(backbone, layout=loaded.layout, weights=weights)
    if not loaded.has_all:
        backbone.last_convolution = None
    if num_stages:
        least, most = backbone.least_blocks, backbone.num_blocks
        if not least <= num_stages <= most:
            raise ConfigError(f"model.num_stages must be between {least} and {most} for {name}, or 0 for all of them, got {num_stages}")
        backbone.keep_first(num_stages)
    return backbone


def name_and_weights(text: str) -> tuple[str, str]:
    """`NAME[:WEIGHTS]` as the two; without weights those that are packaged, or those that its publisher's library fetches.

    Raises:
        ConfigError: no weights, and none that come with the backbone.
    """
    name, separator, weights = text.partition(":")
    if separator:
        return name, weights
    entry = BACKBONES.get(name)
    if entry is not None and entry.packaged_weights is not None:
        return name, "imagenet"
    if entry is not None and entry.fetch_network is None:
        raise ConfigError(f"no weights of {name} are packaged; give a file: --backbone {name}:FILE, or random ones: --backbone {name}:none")
    return name, "hub"


def _check_statistics(backbone: Backbone, *, layout: Layout | None, weights: str) -> None:
    """ConfigError where the weights file says that its pixels had other statistics."""
    if layout is None or layout.statistics is None:
        return
    own = name_of(backbone.mean, backbone.std)
    if own != layout.statistics:
        raise ConfigError(
            f"weights={weights} ({layout.name}) were trained on pixels of the statistics {layout.statistics}, the backbone has {own}; "
            f"set model.pixel_statistics={layout.statistics}, or use a backbone of timm whose name ends in these weights"
        )


def _entry(name: str, *, dilated: bool) -> Entry:
    if name in BACKBONES:
        return BACKBONES[name]
    if name.startswith(PREFIX):
        check_name(name)
        return _timm(name, dilated=dilated)
    near = difflib.get_close_matches(name, [*BACKBONES, *known_names()], n=1, cutoff=0.0)[0]
    raise ConfigError(f"unknown backbone {name!r}; did you mean {near!r}? known: {', '.join(BACKBONES)}, and networks of timm as {PREFIX}NAME")


def _timm(name: str, *, dilated: bool) -> Entry:
    """A plain ViT, or a network of feature maps, which timm dilates when it is made."""
    return Entry(
        lambda: vit.plain_vit(name) or pyramid.make_network(name, dilated=dilated),
        lambda network: vit.ViT(network) if vit.is_plain_vit(network) else pyramid.Pyramid(network, native=not dilated),
        fetch_network=lambda: vit.plain_vit(name, fetch=True) or pyramid.make_network(name, dilated=dilated, fetch=True),
        convert_of=vit.convert_of,
    )


def _network(entry: Entry, *, name: str, weights: str) -> tuple[nn.Module, Loaded]:
    """The network with its weights, and what was loaded."""
    whole = Loaded(layout=None, has_all=True)
    if weights == "hub":
        if entry.fetch_network is None:
            raise ConfigError(f"weights=hub is for networks of torchvision and timm; for {name} give weights=PATH, or weights=imagenet for efficientnet_lite0")
        return entry.fetch_network(), whole
    network = entry.make_network()
    if weights == "none":
        return network, whole
    path, what = _file(entry, name=name, weights=weights)
    convert = entry.convert_of(network) if entry.convert_of else None
    return network, load_weights(network, path=path, what=what, convert=convert, also=entry.last_convolution)


def _file(entry: Entry, *, name: str, weights: str) -> tuple[Path, str]:
    """(weights file, what to call it in messages)."""
    if weights in PUBLISHED and not Path(weights).exists():
        return fetch_published(weights, backbone=name), f"weights={weights}"
    if weights != "imagenet":
        return Path(weights), f"weights={weights}"
    if entry.packaged_weights is None:
        packaged = ", ".join(name for name, entry in BACKBONES.items() if entry.packaged_weights)
        raise ConfigError(f"weights=imagenet is packaged for {packaged} only, not for {name}; give weights=PATH of a .pth or .safetensors file, or weights=hub")
    return entry.packaged_weights(), f"the packaged ImageNet weights of {name}"
