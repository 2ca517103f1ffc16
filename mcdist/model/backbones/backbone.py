"""Backbone: all that the rest of mcdist knows of a network that turns a photo into a grid of features."""

from abc import ABC, abstractmethod

import torch
from jaxtyping import Float
from torch import Tensor, nn

from mcdist.choices import FinalNorm
from mcdist.errors import ConfigError
from mcdist.types import Rgb


class Backbone(nn.Module, ABC):
    """features = backbone(image): `[B, 3, H, W]` -> `[B, num_channels, H / stride, W / stride]`, not normalised.

    H and W are multiples of `stride`. `mean` and `std` are those of the pixels (in 0..1) that the weights were trained on: an image is
    (pixels - mean) / std. `num_blocks` counts the blocks of the whole network, `least_blocks` those that it cannot do without;
    `blocks()` may be fewer than `num_blocks`. `level_channels`: of those last `levels` that are on the grid of the features, in order, where
    several are; `num_levels` of them are joined in what `forward` returns. `last_convolution` leads from the features to what the network's
    own classifier averages, on the same grid; None for a network without one, and for one that is dilated, since it was trained on the native grid.
    `debias` takes from the features what they say about the position alone; None where it was not asked for.
    """

    stride: int
    num_channels: int
    mean: Rgb
    std: Rgb
    num_blocks: int
    least_blocks: int
    level_channels: tuple[int, ...] = ()
    num_levels: int = 1
    last_convolution: nn.Module | None
    debias: nn.Module | None

    def __init__(self) -> None:
        super().__init__()
        self.last_convolution = None
        self.debias = None

    def join_levels(self, num_levels: int) -> None:
        """Let `forward` return the last `num_levels` feature maps, end to end along the channels; `num_channels` follows. After `keep_first`.

        Raises:
            ConfigError: fewer than that are on the same grid.
        """
        most = max(1, len(self.level_channels))
        if not 1 <= num_levels <= most:
            raise ConfigError(
                f"model.levels must be between 1 and {most}, as many of the last feature maps of this backbone are on one grid, got {num_levels}; "
                "use fewer levels, or more blocks (model.num_stages)"
            )
        self.num_levels = num_levels
        self.num_channels = sum(self.level_channels[-num_levels:]) or self.num_channels

    def set_final_norm(self, final_norm: FinalNorm) -> None:
        """Say what a ViT's final norm is applied to; other backbones have none.

        Raises:
            ConfigError: not "last", and this is no ViT.
        """
        if final_norm != "last":
            raise ConfigError(f"model.final_norm={final_norm} is for ViTs, this backbone has no final norm; use model.final_norm=last")

    def joined(self, levels: list[Float[Tensor, "B _ h w"]]) -> Float[Tensor, "B C h w"]:
        """The last `num_levels` of them as one map."""
        return levels[-1] if self.num_levels == 1 else torch.cat(levels[-self.num_levels :], dim=1)

    @abstractmethod
    def blocks(self) -> list[nn.Module]:
        """The parts in order, from the photo on; together they hold every parameter that `forward` uses, each once.

        Freezing, recomputation and learning rates by depth go through this list.
        """

    @abstractmethod
    def keep_first(self, num_blocks: int) -> None:
        """Drop all blocks after the first `num_blocks`, in place; `num_channels` and `level_channels` follow."""

    @abstractmethod
    def set_recompute(self, recompute: bool) -> None:
        """Whether the activations inside each block are computed again in the backward pass instead of being kept."""

    @abstractmethod
    def levels(self, image: Float[Tensor, "B 3 H W"]) -> list[Float[Tensor, "B _ _ _"]]:
        """The feature map after each block; the last `num_levels` of them, joined, are what `forward` returns."""

    @abstractmethod
    def forward(self, image: Float[Tensor, "B 3 H W"]) -> Float[Tensor, "B C h w"]:
        """Features, not normalised."""
