"""Decoders: backbone features become the features that the two heads read, on the same grid."""

from jaxtyping import Float
from torch import Tensor, nn
from torchvision.models.segmentation.deeplabv3 import ASPP

from mcdist.choices import DecoderKind, require_choice


def make_decoder(name: DecoderKind, *, num_channels: int, width: int, atrous_rates: list[int], dropout: float) -> tuple[nn.Module, int]:
    """(decoder, its output channels): `[B, num_channels, h, w]` -> `[B, channels, h, w]`.

    "deeplabv3": atrous spatial pyramid pooling and a 3 x 3 convolution of `width` channels (Chen et al. 2017, arXiv:1706.05587).
    "separable": each channel standardised, a 1 x 1 convolution to `width` channels and a depthwise one that sees the neighbourhood; for frozen features.
    "linear": the features as they are, so that the heads are linear in the backbone.

    Raises:
        ConfigError: an unknown name.
    """
    require_choice("model.decoder", name, choices=DecoderKind)
    if name == "linear":
        return nn.Identity(), num_channels
    if name == "separable":
        return _separable(num_channels, width=width, dropout=dropout), width
    pyramid = ASPP(num_channels, atrous_rates, out_channels=width)
    for layer in pyramid.modules():
        if isinstance(layer, nn.Dropout):
            layer.p = dropout
    mix = nn.Sequential(nn.Conv2d(width, width, 3, padding=1, bias=False), nn.BatchNorm2d(width), nn.ReLU(inplace=True))
    return nn.Sequential(pyramid, mix), width


def _separable(num_channels: int, *, width: int, dropout: float) -> nn.Module:
    """Joined levels of a backbone have scales of their own, which the first norm takes away; it learns nothing, and model.norm applies to it too."""
    return nn.Sequential(
        nn.BatchNorm2d(num_channels).requires_grad_(False),
        nn.Conv2d(num_channels, width, 1, bias=False),
        nn.BatchNorm2d(width),
        nn.ReLU(inplace=True),
        _Neighbourhood(width),
        nn.Dropout(dropout),
    )


class _Neighbourhood(nn.Module):
    """relu(norm(x + depthwise 3 x 3 convolution of dilation 2 (x))): a cell keeps its own features and adds those around it, channel by channel."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.around = nn.Conv2d(width, width, 3, padding=2, dilation=2, groups=width, bias=False)
        self.norm = nn.BatchNorm2d(width)

    def forward(self, features: Float[Tensor, "B C h w"]) -> Float[Tensor, "B C h w"]:
        """On the same grid."""
        return nn.functional.relu(self.norm(features + self.around(features)))
