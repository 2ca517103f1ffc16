"""Decoders: backbone features become the features that the two heads read, on the same grid."""

from torch import nn
from torchvision.models.segmentation.deeplabv3 import ASPP

from mcdist.errors import ConfigError


def make_decoder(name: str, *, num_channels: int, width: int, atrous_rates: list[int], dropout: float) -> tuple[nn.Module, int]:
    """(decoder, its output channels): `[B, num_channels, h, w]` -> `[B, channels, h, w]`.

    "deeplabv3": atrous spatial pyramid pooling and a 3 x 3 convolution of `width` channels (Chen et al. 2017, arXiv:1706.05587).
    "linear": the features as they are, so that the heads are linear in the backbone.
    """
    if name == "linear":
        return nn.Identity(), num_channels
    if name != "deeplabv3":
        raise ConfigError(f"model.decoder wants deeplabv3 or linear, got {name!r}")
    pyramid = ASPP(num_channels, atrous_rates, out_channels=width)
    for part in pyramid.modules():
        if isinstance(part, nn.Dropout):
            part.p = dropout
    mix = nn.Sequential(nn.Conv2d(width, width, 3, padding=1, bias=False), nn.BatchNorm2d(width), nn.ReLU(inplace=True))
    return nn.Sequential(pyramid, mix), width
