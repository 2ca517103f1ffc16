"""ConvNeXt-T, -S and -B, under torchvision's parameter names (Liu et al., CVPR 2022, arXiv:2201.03545)."""

from typing import Any

from torch import nn
from torchvision.models import ConvNeXt_Base_Weights, ConvNeXt_Small_Weights, ConvNeXt_Tiny_Weights, convnext_base, convnext_small, convnext_tiny

from mcdist.model.backbones.backbone import Backbone
from mcdist.model.backbones.fetched import fetched
from mcdist.model.backbones.staged import StagedBackbone, Stages
from mcdist.types import IMAGENET_MEAN, IMAGENET_STD

MAKERS: dict[str, tuple[Any, Any]] = {
    "convnext_tiny": (convnext_tiny, ConvNeXt_Tiny_Weights.IMAGENET1K_V1),
    "convnext_small": (convnext_small, ConvNeXt_Small_Weights.IMAGENET1K_V1),
    "convnext_base": (convnext_base, ConvNeXt_Base_Weights.IMAGENET1K_V1),
}
"""Name -> torchvision's function and the weights behind weights=hub."""


def convnext_network(name: str, *, fetch: bool = False) -> nn.Module:
    """A ConvNeXt as a classifier, random or with the weights that torchvision fetches. No block is left out at random while training."""
    make, weights = MAKERS[name]
    return fetched(lambda: make(weights=weights if fetch else None, stochastic_depth_prob=0.0), name=name)


def convnext_backbone(network: nn.Module, *, dilated: bool = True) -> Backbone:
    """Stem and stage 1 (both of stride 4), then stages 2, 3 and 4 with the downsampling before each: strides 8, and 16 and 32, or dilations 2 and 4."""
    net: Any = network
    stem, first, *later = net.features
    stages = (stem, first, *(nn.Sequential(*later[place : place + 2]) for place in (0, 2, 4)))
    widths = [int(later[place][1].out_channels) for place in (0, 2, 4)]
    channels = (int(stem[0].out_channels),) * 2 + tuple(widths)
    return StagedBackbone(Stages(stages, channels, strides=(4, 4, 8, 16, 32)), mean=IMAGENET_MEAN, std=IMAGENET_STD, dilated=dilated)
