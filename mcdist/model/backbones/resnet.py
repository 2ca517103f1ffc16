"""ResNet-18, -34, -50 and -101, under torchvision's parameter names (He et al., CVPR 2016)."""

from typing import Any

from torch import nn
from torchvision.models import ResNet18_Weights, ResNet34_Weights, ResNet50_Weights, ResNet101_Weights, resnet18, resnet34, resnet50, resnet101

from mcdist.model.backbones.backbone import Backbone
from mcdist.model.backbones.fetched import fetched
from mcdist.model.backbones.staged import StagedBackbone, Stages
from mcdist.types import IMAGENET_MEAN, IMAGENET_STD

MAKERS: dict[str, tuple[Any, Any]] = {
    "resnet18": (resnet18, ResNet18_Weights.IMAGENET1K_V1),
    "resnet34": (resnet34, ResNet34_Weights.IMAGENET1K_V1),
    "resnet50": (resnet50, ResNet50_Weights.IMAGENET1K_V1),
    "resnet101": (resnet101, ResNet101_Weights.IMAGENET1K_V1),
}
"""Name -> torchvision's function and the weights behind weights=hub."""


def resnet_network(name: str, *, fetch: bool = False) -> nn.Module:
    """A ResNet as a classifier, random or with the weights that torchvision fetches."""
    make, weights = MAKERS[name]
    return fetched(lambda: make(weights=weights if fetch else None), name=name)


def resnet_backbone(network: nn.Module, *, dilated: bool = True) -> Backbone:
    """The stem and the four stages."""
    net: Any = network
    stem = nn.Sequential(net.conv1, net.bn1, net.relu, net.maxpool)
    width = int(net.fc.in_features) // 8
    channels = (int(net.conv1.out_channels), width, 2 * width, 4 * width, 8 * width)
    stages = Stages((stem, net.layer1, net.layer2, net.layer3, net.layer4), channels, strides=(4, 4, 8, 16, 32))
    return StagedBackbone(stages, mean=IMAGENET_MEAN, std=IMAGENET_STD, dilated=dilated)
