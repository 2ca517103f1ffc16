"""The contrastive loss as one writes it in plain torch: the baseline of the benchmarks. Every object pixel's embedding and all its logits at once."""

import torch
import torch.nn.functional as F
from torch import Tensor

from mcdist.ops.targets import count_targets, object_pixels, object_rows, pixel_targets, weigh_targets
from mcdist.types import MaskContrast


def plain_contrast(
    features: Tensor,
    instances: Tensor,
    prototypes: Tensor,
    bank: Tensor,
    *,
    temperature: float,
    target_of: Tensor,
    prototype_valid: Tensor | None = None,
    bank_valid_rows: int | Tensor | None = None,
    target_weight: Tensor | None = None,
    weight_sum: Tensor | None = None,
    **_: object,
) -> MaskContrast:
    """As `mcdist.ops.mask_contrast`, without its options: upsample, normalise, pick the objects' pixels, multiply, softmax."""
    rows = object_rows(target_of, num_prototypes=len(prototypes), prototype_valid=prototype_valid)
    label = pixel_targets(instances, row_of_BO=rows).flatten().long()
    counts = count_targets(object_pixels(instances, num_objects=target_of.shape[1]), row_of_BO=rows, num_prototypes=len(prototypes))
    own_weight, own_sum = weigh_targets(counts, dtype=features.dtype)
    weight, divisor = own_weight if target_weight is None else target_weight, own_sum if weight_sum is None else weight_sum
    pixels = F.normalize(F.interpolate(features, size=instances.shape[1:], mode="bilinear", align_corners=False), dim=1)
    foreground = (label >= 0).nonzero().squeeze(1)
    pixels, label = pixels.permute(0, 2, 3, 1).reshape(-1, features.shape[1])[foreground], label[foreground]
    seen = torch.arange(len(prototypes), device=label.device) if prototype_valid is None else prototype_valid.nonzero().squeeze(1)
    column = torch.zeros_like(counts).index_copy_(0, seen, torch.arange(len(seen), device=seen.device))
    logits = pixels @ torch.cat([prototypes[seen], bank if bank_valid_rows is None else bank[: int(bank_valid_rows)]]).to(pixels.dtype).t() / temperature
    loss = (F.cross_entropy(logits, column[label], reduction="none") * weight[label]).sum() / divisor.clamp_min(torch.finfo(divisor.dtype).tiny)
    return MaskContrast(loss=loss, correct=(logits.detach().argmax(1) == column[label]).sum(), num_pixels=counts.sum())
