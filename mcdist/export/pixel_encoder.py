"""PixelEncoder: an encoder from pixels to plain tensors, its pixel statistics inside, as graphs and hubs take it."""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from mcdist.model.encoder import Encoder


class PixelEncoder(nn.Module):
    """(features, saliency[, groups]) = encoder((pixels - mean) / std), in evaluation mode.

    `multiple_px`: what the sides of a photo must be a multiple of.
    """

    mean: Float[Tensor, "3 1 1"]
    std: Float[Tensor, "3 1 1"]

    def __init__(self, encoder: Encoder) -> None:
        super().__init__()
        backbone = encoder.backbone
        self.encoder = encoder.eval().requires_grad_(False)
        self.register_buffer("mean", torch.tensor(backbone.mean)[:, None, None], persistent=False)
        self.register_buffer("std", torch.tensor(backbone.std)[:, None, None], persistent=False)
        self.multiple_px = int(getattr(backbone, "coarsest", backbone.stride))

    @property
    def outputs(self) -> tuple[str, ...]:
        """Names of what `forward` returns, in order."""
        return ("features", "saliency", *(["groups"] if self.encoder.groups is not None else []))

    def forward(self, pixels: Float[Tensor, "B 3 H W"]) -> tuple[Tensor, ...]:
        """Features [B, D, h, w], neither upsampled nor normalised; saliency logits [B, 1, h, w]; logits of groups, as `Embedded` has them.

        Args:
            pixels: RGB in 0..1; H and W multiples of `multiple_px`.
        """
        embedded = self.encoder((pixels - self.mean) / self.std)
        return tuple(getattr(embedded, name) for name in self.outputs)
