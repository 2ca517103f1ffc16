"""Debias: what a ViT's features say about the position alone is taken from them, whatever the photo shows.

Position embeddings leave a pattern in the output tokens that clusters by place: left and right, top and bottom. It is what the network gives for
photos without content, here noise, averaged so that the noise cancels.
"""

import math

import torch
from jaxtyping import Float
from torch import Tensor, nn

from mcdist.choices import PositionDebias, require_choice
from mcdist.errors import ConfigError
from mcdist.model.backbones.backbone import Backbone
from mcdist.model.backbones.vit import ViT

NUM_PHOTOS = 8
GRID = 16
"""Photos of noise and patches along each side of them."""

ORDER = 4
"""Waves of the regression: products of cosines along both sides with at most so many half periods together."""

RANK = 16
"""Directions that svd takes away."""


def add_debias(backbone: Backbone, *, kind: PositionDebias, fit: bool) -> None:
    """Let the backbone's `forward` return features without positions. After `join_levels`.

    Args:
        kind: "mean" subtracts, at each place, a regression on the place of the mean features of photos without content; "svd" takes away the
            features' share in the directions in which those mean features differ most between places.
        fit: measure now, with the weights as they are; otherwise the measurement comes from a checkpoint.

    Raises:
        ConfigError: an unknown kind, or not a ViT.
    """
    require_choice("model.position_debias", kind, choices=PositionDebias)
    if kind == "none":
        return
    if not isinstance(backbone, ViT):
        raise ConfigError(f"model.position_debias={kind} is for ViTs, which have position embeddings; use model.position_debias=none")
    debias = MeanDebias(backbone.num_channels) if kind == "mean" else SubspaceDebias(backbone.num_channels)
    if fit:
        debias.fit(positions_of(backbone))
    backbone.debias = debias


class MeanDebias(nn.Module):
    """features(y, x) - waves(y, x) @ coefficients: smooth in the place, so it holds for every size of photo."""

    coefficients: Float[Tensor, "K C"]

    def __init__(self, num_channels: int) -> None:
        super().__init__()
        self.register_buffer("coefficients", torch.zeros(len(_orders()), num_channels))

    def fit(self, mean: Float[Tensor, "C h w"]) -> None:
        """Least squares on the features' difference to their mean over all places."""
        flat = mean.flatten(1).T
        waves = _waves(mean.shape[1], mean.shape[2], like=mean)
        self.coefficients.copy_(torch.linalg.lstsq(waves, flat - flat.mean(0)).solution)

    def forward(self, features: Float[Tensor, "B C h w"]) -> Float[Tensor, "B C h w"]:
        """On the same grid."""
        height, width = features.shape[2:]
        positions = _waves(height, width, like=self.coefficients) @ self.coefficients
        return features - positions.T.unflatten(1, (height, width)).to(features.dtype)


class SubspaceDebias(nn.Module):
    """features - (features - centre) V V^T: what is left is orthogonal to the RANK directions V of the positions."""

    centre: Float[Tensor, " C"]
    directions: Float[Tensor, "C R"]

    def __init__(self, num_channels: int) -> None:
        super().__init__()
        self.register_buffer("centre", torch.zeros(num_channels))
        self.register_buffer("directions", torch.zeros(num_channels, min(RANK, num_channels // 2)))

    def fit(self, mean: Float[Tensor, "C h w"]) -> None:
        """The first directions of the features of all places, centred."""
        flat = mean.flatten(1).T
        self.centre.copy_(flat.mean(0))
        _, _, directions = torch.linalg.svd(flat - self.centre, full_matrices=False)
        self.directions.copy_(directions[: self.directions.shape[1]].T)

    def forward(self, features: Float[Tensor, "B C h w"]) -> Float[Tensor, "B C h w"]:
        """On the same grid."""
        directions = self.directions.to(features.dtype)
        shares = torch.einsum("bchw,cr->brhw", features - self.centre.to(features.dtype)[:, None, None], directions)
        return features - torch.einsum("brhw,cr->bchw", shares, directions)


@torch.no_grad()
def positions_of(backbone: Backbone) -> Float[Tensor, "C h w"]:
    """Mean features of photos of noise, of which only the place is left; the same noise at every call."""
    training, device = backbone.training, next(backbone.parameters()).device
    size = (NUM_PHOTOS, 3, GRID * backbone.stride, GRID * backbone.stride)
    noise = torch.randn(size, generator=torch.Generator().manual_seed(0)).to(device)
    backbone.eval()
    mean = torch.stack([backbone(photo[None])[0].float() for photo in noise]).mean(0)
    backbone.train(training)
    return mean


def _orders() -> list[tuple[int, int]]:
    return [(y, x) for y in range(ORDER + 1) for x in range(ORDER + 1) if 0 < y + x <= ORDER]


def _waves(height: int, width: int, *, like: Tensor) -> Float[Tensor, "N K"]:
    """cos(pi i y) cos(pi j x) at the middle of every cell, y and x in 0..1, one row a cell."""
    rows = (torch.arange(height, device=like.device, dtype=like.dtype) + 0.5) / height
    columns = (torch.arange(width, device=like.device, dtype=like.dtype) + 0.5) / width
    waves = [torch.cos(math.pi * y * rows)[:, None] * torch.cos(math.pi * x * columns)[None] for y, x in _orders()]
    return torch.stack([wave.flatten() for wave in waves], dim=1)
