"""The words of the house: tensor layouts and the small values that travel between rooms.

Capital suffixes name a layout where it changes:

    B batch   D embedding   H W image height, width   h w feature height, width (H = stride * h)
    P prototypes of this batch   K rows of the memory bank   N pixels   O objects   C classes   S sets of groups   G groups of all sets, end to end
"""

from dataclasses import dataclass

from jaxtyping import Float, Int
from torch import Tensor

from mcdist.components import BACKGROUND as BACKGROUND
from mcdist.components import VOID as VOID

Rgb = tuple[float, float, float]
"""A number for red, green and blue."""

IMAGENET_MEAN: Rgb = (0.485, 0.456, 0.406)
IMAGENET_STD: Rgb = (0.229, 0.224, 0.225)
"""Of ImageNet's pixels in 0..1."""


@dataclass(frozen=True, slots=True)
class Embedded:
    """What an encoder gives: features `[B, D, h, w]`, not upsampled and not normalised, and saliency logits `[B, 1, h, w]`.

    `groups`: logits of each set of K groups end to end along the channels: K + 1 a set, of which the first is background; None without a group head.
    """

    features: Float[Tensor, "B D h w"]
    saliency: Float[Tensor, "B 1 h w"]
    groups: Float[Tensor, "B G h w"] | None = None


@dataclass(frozen=True, slots=True)
class Pooled:
    """One unit vector an object and the number of its pixels; row `b * max_objects + i - 1` is object i of image b."""

    prototypes: Float[Tensor, "P D"]
    num_pixels: Int[Tensor, " P"]


@dataclass(frozen=True, slots=True)
class MaskContrast:
    """The contrastive loss, how many own pixels picked their own prototype, and how many pixels took part."""

    loss: Float[Tensor, ""]
    correct: Int[Tensor, ""]
    num_pixels: Int[Tensor, ""]
