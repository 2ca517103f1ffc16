"""The contrastive loss of foreground pixels only: the fast path where counting them is free.

Invalid candidates are dropped before the product. The gradient is made in the forward pass, chunk by chunk while the logits lie
in the cache, so that neither logits nor probabilities are kept and nothing is computed twice.
"""

from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.autograd.function import once_differentiable

from mcdist.ops.upsample import unit, upsampled_pixels

CHUNK_PIXELS = 8192
"""Pixels whose logits exist at once: at 280 candidates 9 MB."""


def contrast_gathered(
    features_BDhw: Float[Tensor, "B D h w"],
    targets_BHW: Int[Tensor, "B H W"],
    candidates_ND: Float[Tensor, "N D"],
    excluded_PN: Bool[Tensor, "#P N"],
    *,
    weight_P: Float[Tensor, " P"],
    temperature: float,
    stride: int,
) -> tuple[Float[Tensor, ""], Int[Tensor, ""]]:
    """As `contrast_dense`. Memory: O(pixels D) and one chunk of logits."""
    D, h, w = features_BDhw.shape[1:]
    targets = targets_BHW.flatten()
    pixels_N = (targets >= 0).nonzero().squeeze(1)
    features_RD = features_BDhw.permute(0, 2, 3, 1).reshape(-1, D).contiguous()
    unit_ND = unit(upsampled_pixels(features_RD, pixels_N, height=h, width=w, stride=stride), dim=1)
    kept = (~excluded_PN.all(0)).nonzero().squeeze(1)
    column_of = torch.zeros(len(candidates_ND), dtype=torch.int64).scatter_(0, kept, torch.arange(len(kept)))
    excluded = excluded_PN[:, kept] if len(excluded_PN) > 1 else None
    target_N = targets[pixels_N]
    return _PixelCrossEntropy.apply(unit_ND, target_N, column_of[target_N], candidates_ND[kept] / temperature, excluded, weight_P[target_N])


class _PixelCrossEntropy(torch.autograd.Function):
    """(sum of weight x cross-entropy, number correct) of unit pixel vectors against candidates already divided by the temperature."""

    @staticmethod
    def forward(
        ctx: Any, unit_ND: Tensor, target_N: Tensor, column_N: Tensor, scaled_MD: Tensor, excluded_PM: Tensor | None, weight_N: Tensor
    ) -> tuple[Tensor, Tensor]:
        loss, correct = unit_ND.new_zeros(()), torch.zeros((), dtype=torch.int64)
        dunit_ND = torch.empty_like(unit_ND) if ctx.needs_input_grad[0] else None
        for start in range(0, len(unit_ND), CHUNK_PIXELS):
            part = slice(start, start + CHUNK_PIXELS)
            column, weight = column_N[part, None], weight_N[part]
            z = unit_ND[part] @ scaled_MD.t()
            if excluded_PM is not None:
                z.masked_fill_(excluded_PM[target_N[part]], -torch.inf)
            own = z.gather(1, column)
            top, best = z.max(1, keepdim=True)
            exponential = z.sub_(top).exp_()
            total = exponential.sum(1, keepdim=True)
            loss += (weight * (total.log() + top - own).squeeze(1)).sum()
            correct += (best == column).sum()
            if dunit_ND is not None:
                scale = weight[:, None]
                torch.mm(exponential, scaled_MD, out=dunit_ND[part])
                dunit_ND[part].mul_(scale / total).sub_(scale * scaled_MD[column.squeeze(1)])
        ctx.save_for_backward(dunit_ND)
        ctx.mark_non_differentiable(correct)
        return loss, correct

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, dloss: Tensor, _: Tensor) -> tuple[Tensor | None, ...]:
        (dunit_ND,) = ctx.saved_tensors
        return dunit_ND * dloss, None, None, None, None, None
