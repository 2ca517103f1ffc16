"""Which prototype each pixel must pick, how many pixels pick each, and what a pixel weighs. Pure functions on the device, which never wait for it."""

import torch
from jaxtyping import Bool, Float, Int, Int32, Int64
from torch import Tensor

IGNORED = -1
"""The row of an object, and the target of a pixel, that takes no part."""


def object_rows(target_of: Int[Tensor, "B O"], *, num_prototypes: int, prototype_valid: Bool[Tensor, " P"] | None = None) -> Int32[Tensor, "B O"]:
    """The prototype row that the pixels of each object must pick, IGNORED where there is none.

    Ignored are targets outside 0 .. num_prototypes - 1, and objects whose prototype is not valid: an object seen in one view only has
    nothing to be compared with.
    """
    own = (target_of >= 0) & (target_of < num_prototypes)
    if prototype_valid is not None:
        own = own & prototype_valid[target_of.clamp(0, num_prototypes - 1).long()]
    return torch.where(own, target_of, IGNORED).to(torch.int32)


def object_pixels(instances_BHW: Int[Tensor, "B H W"], *, num_objects: int, at_most: int | None = None) -> Int64[Tensor, "B O"]:
    """Pixels of each object, or `at_most` if it has more; instances beyond `num_objects` are not counted."""
    # bincount would wait for the device to learn the largest value; two spare slots take background, void and what lies beyond
    B = len(instances_BHW)
    slot_Bn = instances_BHW.flatten(1).clamp(0, num_objects + 1).long()
    counts = torch.zeros(B, num_objects + 2, dtype=torch.int64, device=instances_BHW.device)
    counts.scatter_add_(1, slot_Bn, torch.ones((), dtype=torch.int64, device=counts.device).expand_as(slot_Bn))
    return counts[:, 1:-1] if at_most is None else counts[:, 1:-1].clamp_max(at_most)


def count_targets(pixels_BO: Int64[Tensor, "B O"], *, row_of_BO: Int32[Tensor, "B O"], num_prototypes: int) -> Int64[Tensor, " P"]:
    """n_j: how many pixels have target j, from the pixels of the objects."""
    slot = torch.where(row_of_BO < 0, num_prototypes, row_of_BO).flatten().long()
    counts = torch.zeros(num_prototypes + 1, dtype=torch.int64, device=pixels_BO.device)
    return counts.scatter_add_(0, slot, pixels_BO.flatten())[:num_prototypes]


def pixel_targets(instances_BHW: Int[Tensor, "B H W"], *, row_of_BO: Int32[Tensor, "B O"]) -> Int32[Tensor, "B H W"]:
    """The prototype row of every pixel, IGNORED for background, void, instances beyond O and objects without a row."""
    B, num_objects = row_of_BO.shape
    row_of_slot = torch.nn.functional.pad(row_of_BO, (1, 1), value=IGNORED)
    slot_Bn = instances_BHW.flatten(1).clamp(0, num_objects + 1).long()
    return row_of_slot.gather(1, slot_Bn).view_as(instances_BHW)


def weigh_targets(pixel_counts_P: Int[Tensor, " P"], *, dtype: torch.dtype = torch.float32) -> tuple[Float[Tensor, " P"], Float[Tensor, ""]]:
    """(w, weight_sum): w_j = 1 / ln(1.02 + n_j / n), so rare targets weigh more; weight_sum = sum_j n_j w_j. Without pixels the sum is 0."""
    counts_P = pixel_counts_P.to(dtype)
    weight_P = 1 / torch.log(1.02 + counts_P / counts_P.sum().clamp_min(1))
    return weight_P, (counts_P * weight_P).sum()
