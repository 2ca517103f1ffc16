"""Registry: a backbone's name to its maker and its packaged weights. A new backbone is one file beside this one and one line here."""

import difflib
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from torch import nn

from mcdist.errors import ConfigError
from mcdist.model.backbones import efficientnet, resnet, vit
from mcdist.model.backbones.backbone import Backbone
from mcdist.model.backbones.weights import Convert, load_weights


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


BACKBONES = {
    "resnet18": Entry(resnet.resnet18_network, resnet.resnet18_backbone, make_undilated=partial(resnet.resnet18_backbone, dilated=False)),
    "resnet50": Entry(resnet.resnet50_network, resnet.resnet50_backbone, make_undilated=partial(resnet.resnet50_backbone, dilated=False)),
    "efficientnet_lite0": Entry(
        efficientnet.efficientnet_lite0_network,
        efficientnet.efficientnet_lite0_backbone,
        packaged_weights=efficientnet.efficientnet_lite0_weights,
        make_undilated=partial(efficientnet.efficientnet_lite0_backbone, dilated=False),
        last_convolution=efficientnet.LAST_CONVOLUTION,
    ),
}
"""Our own backbones by name; beside them every plain ViT of timm is found as timm/NAME."""


def make_backbone(name: str, *, weights: str = "none", num_stages: int = 0, dilated: bool = True) -> Backbone:
    """The backbone `name`, of which the first `num_stages` blocks are used (0: all).

    Args:
        name: one of BACKBONES, or timm/NAME for a ViT of timm.
        weights: "none" (random), "imagenet" (packaged), "hub" (fetched by timm), or a .pth or .safetensors file.
        num_stages: at least the blocks that reach the backbone's stride.
        dilated: False for a CNN with its native strides, as it was trained, and with its last convolution where it has one and the weights file holds it.
            A ViT is the same either way.

    Raises:
        ConfigError: no such backbone, no such weights for it, a weights file that does not fit, or a number of blocks out of range.
        MissingExtraError: a package that the backbone needs is not installed.
        MachineError: weights=hub and the weights cannot be fetched.
    """
    entry = _entry(name)
    network, has_last_convolution = _network(entry, name=name, weights=weights)
    make = entry.make_backbone if dilated else entry.make_undilated or entry.make_backbone
    backbone = make(network)
    if not has_last_convolution:
        backbone.last_convolution = None
    if num_stages:
        least, most = backbone.least_blocks, backbone.num_blocks
        if not least <= num_stages <= most:
            raise ConfigError(f"model.num_stages must be between {least} and {most} for {name}, or 0 for all of them, got {num_stages}")
        backbone.keep_first(num_stages)
    return backbone


def name_and_weights(text: str) -> tuple[str, str]:
    """`NAME[:WEIGHTS]` as the two; without weights those that are packaged, or for a network of timm those that timm fetches.

    Raises:
        ConfigError: no weights, and none that come with the backbone.
    """
    name, separator, weights = text.partition(":")
    if separator:
        return name, weights
    if name.startswith(vit.PREFIX):
        return name, "hub"
    if name in BACKBONES and BACKBONES[name].packaged_weights is None:
        raise ConfigError(f"no weights of {name} are packaged; give a file: --backbone {name}:FILE, or random ones: --backbone {name}:none")
    return name, "imagenet"


def _entry(name: str) -> Entry:
    if name in BACKBONES:
        return BACKBONES[name]
    if name.startswith(vit.PREFIX):
        vit.check_name(name)
        return Entry(
            lambda: vit.make_network(name),
            vit.ViT,
            fetch_network=lambda: vit.make_network(name, fetch=True),
            convert_of=vit.convert_of,
        )
    near = difflib.get_close_matches(name, [*BACKBONES, *vit.known_names()], n=1, cutoff=0.0)[0]
    raise ConfigError(f"unknown backbone {name!r}; did you mean {near!r}? known: {', '.join(BACKBONES)}, and ViTs of timm as {vit.PREFIX}NAME")


def _network(entry: Entry, *, name: str, weights: str) -> tuple[nn.Module, bool]:
    """The network with its weights, and whether those of its last convolution are among them."""
    if weights == "hub":
        if entry.fetch_network is None:
            raise ConfigError(f"weights=hub is for networks of timm; for {name} give weights=PATH, or weights=imagenet for efficientnet_lite0")
        return entry.fetch_network(), True
    network = entry.make_network()
    if weights == "none":
        return network, True
    convert = entry.convert_of(network) if entry.convert_of else None
    if weights != "imagenet":
        return network, load_weights(network, path=Path(weights), what=f"weights={weights}", convert=convert, also=entry.last_convolution)
    if entry.packaged_weights is None:
        packaged = ", ".join(name for name, entry in BACKBONES.items() if entry.packaged_weights)
        raise ConfigError(f"weights=imagenet is packaged for {packaged} only, not for {name}; give weights=PATH of a .pth or .safetensors file")
    what = f"the packaged ImageNet weights of {name}"
    return network, load_weights(network, path=entry.packaged_weights(), what=what, convert=convert, also=entry.last_convolution)
