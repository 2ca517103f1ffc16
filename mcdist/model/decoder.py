"""Decoders: backbone features become the features that the two heads read, on the same grid."""

from torch import nn
from torchvision.models.segmentation.deeplabv3 import ASPP

from mcdist.choices import DecoderKind, require_choice


def make_decoder(name: DecoderKind, *, num_channels: int, width: int, atrous_rates: list[int], dropout: float) -> tuple[nn.Module, int]:
    """(decoder, its output channels): `[B, num_channels, h, w]` -> `[B, channels, h, w]`.

    "deeplabv3": atrous spatial pyramid pooling and a 3 x 3 convolution of `width` channels (Chen et al. 2017, arXiv:1706.05587).
    "linear": the features as they are, so that the heads are linear in the backbone.

    Raises:
        ConfigError: an unknown name.
    """
    require_choice("model.decoder", name, choices=DecoderKind)
    if name == "linear":
        return nn.Identity(), num_channels
    pyramid = ASPP(num_channels, atrous_rates, out_channels=width)
    for layer in pyramid.modules():
        if isinstance(layer, nn.Dropout):
            layer.p = dropout
    mix = nn.Sequential(nn.Conv2d(width, width, 3, padding=1, bias=False), nn.BatchNorm2d(width), nn.ReLU(inplace=True))
    return nn.Sequential(pyramid, mix), width
