"""The saliency term, and the few integers that several ranks must agree on before any term can be weighed.

A training step over several ranks counts on each (`pixel_counts`, `saliency_counts`), sums the counts over ranks, and hands the
sums to every rank: the shares of the ranks then add up to what one rank with the whole batch computes. Nothing here waits for the
device.
"""

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor

from mcdist.ops.require import require_device, require_layout, require_size, require_stride
from mcdist.ops.targets import count_targets, object_pixels, object_rows, weigh_targets


def pixel_counts(
    instances_BHW: Int[Tensor, "B H W"],
    *,
    target_of: Int[Tensor, "B O"],
    num_prototypes: int,
    prototype_valid: Bool[Tensor, " P"] | None = None,
    pixels_per_object: int | None = None,
) -> Int[Tensor, " P"]:
    """n_j: own pixels whose target is prototype j; sum it over micro-batches and ranks. The pixels are those that `mask_contrast` counts."""
    row_of_BO = object_rows(target_of, num_prototypes=num_prototypes, prototype_valid=prototype_valid)
    pixels_BO = object_pixels(instances_BHW, num_objects=target_of.shape[1], at_most=pixels_per_object)
    return count_targets(pixels_BO, row_of_BO=row_of_BO, num_prototypes=num_prototypes)


def target_weights(pixel_counts_P: Int[Tensor, " P"]) -> tuple[Float[Tensor, " P"], Float[Tensor, ""]]:
    """(target_weight, weight_sum) for `mask_contrast`: w_j = 1 / ln(1.02 + n_j / n) and sum_j n_j w_j, of counts over all ranks."""
    return weigh_targets(pixel_counts_P)


def saliency_counts(instances_BHW: Int[Tensor, "B H W"]) -> tuple[Int[Tensor, ""], Int[Tensor, ""]]:
    """(num_positive, num_negative): object pixels and background pixels; void is neither."""
    return (instances_BHW >= 1).sum(), (instances_BHW == 0).sum()


def saliency_loss(
    logits_B1hw: Float[Tensor, "B 1 h w"],
    instances_BHW: Int[Tensor, "B H W"],
    *,
    num_positive: Int[Tensor, ""] | None = None,
    num_negative: Int[Tensor, ""] | None = None,
) -> Float[Tensor, ""]:
    """Class-balanced binary cross-entropy of the upsampled logit: is this pixel part of an object?

    sum over own pixels of weight x BCE / num_all; positives weigh num_negative / num_all, negatives num_positive / num_all,
    num_all = num_positive + num_negative. MaskContrast, Van Gansbeke et al., ICCV 2021 (arXiv:2102.06191), section 3.

    Args:
        logits_B1hw: any float dtype; computed in float32, or float64 if they are. H = s h and W = s w for one integer s.
        instances_BHW: i >= 1 positive, 0 negative, -1 void takes no part.
        num_positive: positives over all ranks, 0-d on the device; with `num_negative`, else both from this call. The loss is then
            this call's share: multiply by the number of ranks where the engine averages.

    Returns:
        The loss, 0-d. Without pixels, or without one of the two classes, it is 0 and so is its gradient.

    Raises:
        ValueError: layout, dtype, sizes or devices do not fit, or one count came without the other.
    """
    require_stride(logits_B1hw, instances_BHW)
    require_size("logits", logits_B1hw, dim=1, size=1, because="one saliency logit a pixel")
    num_positive, num_negative = _counts(instances_BHW, num_positive, num_negative)
    require_device(logits_B1hw.device, instances=instances_BHW, num_positive=num_positive, num_negative=num_negative)
    logits_B1hw = logits_B1hw.to(torch.promote_types(logits_B1hw.dtype, torch.float32))
    logits_BHW = F.interpolate(logits_B1hw, size=instances_BHW.shape[1:], mode="bilinear", align_corners=False).squeeze(1)
    num_all = (num_positive + num_negative).clamp_min(1).to(logits_BHW.dtype)
    positive_BHW = instances_BHW >= 1
    weight_BHW = torch.where(positive_BHW, num_negative / num_all, num_positive / num_all) * (instances_BHW != -1)
    return F.binary_cross_entropy_with_logits(logits_BHW, positive_BHW.to(logits_BHW.dtype), weight=weight_BHW, reduction="sum") / num_all


def _counts(instances_BHW: Tensor, num_positive: Tensor | None, num_negative: Tensor | None) -> tuple[Tensor, Tensor]:
    if num_positive is None and num_negative is None:
        return saliency_counts(instances_BHW)
    if num_positive is None or num_negative is None:
        raise ValueError("num_positive and num_negative must be given together, got one of them: pass both sums over ranks of saliency_counts")
    require_layout("num_positive", num_positive, num_dims=0, kind="integer")
    require_layout("num_negative", num_negative, num_dims=0, kind="integer")
    return num_positive, num_negative
