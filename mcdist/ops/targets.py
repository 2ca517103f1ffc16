"""Which prototype each pixel must pick, how many pixels pick each, and what a pixel weighs. Pure, on the device, never waiting for it."""

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

IGNORED = -1
"""Target of a pixel that takes no part."""


def pixel_targets(
    instances_BHW: Int[Tensor, "B H W"],
    *,
    target_of: Int[Tensor, "B O"],
    num_prototypes: int,
    prototype_valid: Bool[Tensor, " P"] | None = None,
) -> Int[Tensor, "B H W"]:
    """The prototype row of every pixel, IGNORED where there is none.

    Ignored are background, void, instances beyond O, targets outside 0 .. num_prototypes - 1, and objects whose prototype is
    not valid: an object seen in one view only has nothing to be compared with.
    """
    num_objects = target_of.shape[1]
    object_BHW = instances_BHW.long() - 1
    row_BHW = target_of.long().gather(1, object_BHW.clamp(0, num_objects - 1).flatten(1)).view_as(object_BHW)
    own = (object_BHW >= 0) & (object_BHW < num_objects) & (row_BHW >= 0) & (row_BHW < num_prototypes)
    if prototype_valid is not None:
        own = own & prototype_valid[row_BHW.clamp(0, num_prototypes - 1)]
    return torch.where(own, row_BHW, IGNORED)


def count_targets(targets: Int[Tensor, "..."], *, num_prototypes: int) -> Int[Tensor, " P"]:
    """n_j: how many pixels have target j. IGNORED ones are not counted."""
    # bincount would wait for the device to learn the largest value; one spare slot takes what is ignored
    slot = torch.where(targets < 0, num_prototypes, targets).flatten()
    counts = torch.zeros(num_prototypes + 1, dtype=torch.int64, device=targets.device)
    return counts.scatter_add_(0, slot, torch.ones_like(slot))[:num_prototypes]


def weigh_targets(pixel_counts_P: Int[Tensor, " P"], *, dtype: torch.dtype = torch.float32) -> tuple[Float[Tensor, " P"], Float[Tensor, ""]]:
    """(w, weight_sum): w_j = 1 / ln(1.02 + n_j / n), rare targets weigh more; weight_sum = sum_j n_j w_j. Without pixels the sum is 0."""
    counts_P = pixel_counts_P.to(dtype)
    weight_P = 1 / torch.log(1.02 + counts_P / counts_P.sum().clamp_min(1))
    return weight_P, (counts_P * weight_P).sum()
