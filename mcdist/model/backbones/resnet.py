"""ResNet-18 and ResNet-50, under torchvision's parameter names (He et al., CVPR 2016)."""

from typing import Any

from torch import nn
from torchvision.models import resnet18, resnet50

from mcdist.model.backbones.backbone import Backbone
from mcdist.model.backbones.staged import StagedBackbone, Stages
from mcdist.types import IMAGENET_MEAN, IMAGENET_STD


def resnet18_network() -> nn.Module:
    """ResNet-18 as a classifier, random."""
    return resnet18(weights=None)


def resnet50_network() -> nn.Module:
    """ResNet-50 as a classifier, random."""
    return resnet50(weights=None)


def resnet18_backbone(network: nn.Module, *, dilated: bool = True) -> Backbone:
    """The five stages of a ResNet-18."""
    return _backbone(network, channels=(64, 64, 128, 256, 512), dilated=dilated)


def resnet50_backbone(network: nn.Module, *, dilated: bool = True) -> Backbone:
    """The five stages of a ResNet-50."""
    return _backbone(network, channels=(64, 256, 512, 1024, 2048), dilated=dilated)


def _backbone(network: Any, *, channels: tuple[int, ...], dilated: bool) -> Backbone:
    stem = nn.Sequential(network.conv1, network.bn1, network.relu, network.maxpool)
    stages = Stages((stem, network.layer1, network.layer2, network.layer3, network.layer4), channels, strides=(4, 4, 8, 16, 32))
    return StagedBackbone(stages, mean=IMAGENET_MEAN, std=IMAGENET_STD, dilated=dilated)
