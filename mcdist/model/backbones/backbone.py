"""Backbone: all that the rest of mcdist knows of a network that turns a photo into a grid of features."""

from abc import ABC, abstractmethod

from jaxtyping import Float
from torch import Tensor, nn

from mcdist.types import Rgb


class Backbone(nn.Module, ABC):
    """features = backbone(image): `[B, 3, H, W]` -> `[B, num_channels, H / stride, W / stride]`, not normalised.

    H and W are multiples of `stride`. `mean` and `std` are those of the pixels (in 0..1) that the weights were trained on: an image is
    (pixels - mean) / std. `num_blocks` counts the blocks of the whole network, `least_blocks` those that it cannot do without;
    `blocks()` may be fewer than `num_blocks`.
    """

    stride: int
    num_channels: int
    mean: Rgb
    std: Rgb
    num_blocks: int
    least_blocks: int

    @abstractmethod
    def blocks(self) -> list[nn.Module]:
        """The parts in order, from the photo on; together they hold every parameter that `forward` uses, each once.

        Freezing, recomputation and learning rates by depth go through this list.
        """

    @abstractmethod
    def keep_first(self, num_blocks: int) -> None:
        """Drop all blocks after the first `num_blocks`, in place; `num_channels` follows."""

    @abstractmethod
    def set_recompute(self, recompute: bool) -> None:
        """Whether the activations inside each block are computed again in the backward pass instead of being kept."""

    @abstractmethod
    def levels(self, image: Float[Tensor, "B 3 H W"]) -> list[Float[Tensor, "B _ _ _"]]:
        """The feature map after each block; the last one is what `forward` returns."""

    @abstractmethod
    def forward(self, image: Float[Tensor, "B 3 H W"]) -> Float[Tensor, "B C h w"]:
        """Features, not normalised."""
