"""The definition of the contrastive loss in plain torch, dense and masked, a band at a time, so that not all logits exist at once."""

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor

from mcdist.ops.recompute import recomputed
from mcdist.ops.upsample import Band, bands, unit, upsampled_band


def contrast_dense(
    features_BDhw: Float[Tensor, "B D h w"],
    targets_BHW: Int[Tensor, "B H W"],
    candidates_ND: Float[Tensor, "N D"],
    excluded_PN: Bool[Tensor, "#P N"],
    *,
    weight_P: Float[Tensor, " P"],
    temperature: float,
    stride: int,
) -> tuple[Float[Tensor, ""], Int[Tensor, ""]]:
    """(sum over pixels of weight x cross-entropy, pixels whose best candidate is their target); every pixel is made and most are masked.

    `excluded_PN[j]` are the candidates that pixels with target j do not see; a single row holds for all targets.
    """
    loss, correct = features_BDhw.new_zeros(()), torch.zeros((), dtype=torch.int64, device=features_BDhw.device)
    scaled_ND = candidates_ND / temperature
    for band in bands(features_BDhw, stride=stride, numbers_per_pixel=len(candidates_ND)):
        band_targets = targets_BHW[band.images, band.rows]
        arguments = (features_BDhw, band_targets, scaled_ND, excluded_PN, weight_P, band, stride)
        band_loss, band_correct = recomputed(_band_terms, *arguments)
        loss, correct = loss + band_loss, correct + band_correct
    return loss, correct


def _band_terms(
    features_BDhw: Tensor, targets_bHW: Tensor, scaled_ND: Tensor, excluded_PN: Tensor, weight_P: Tensor, band: Band, stride: int
) -> tuple[Tensor, Tensor]:
    pixels_bDHW = unit(upsampled_band(features_BDhw, band, stride=stride), dim=1)
    label_bHW = targets_bHW.clamp_min(0).long()
    excluded_bNHW = excluded_PN[label_bHW].movedim(3, 1) if len(excluded_PN) > 1 else excluded_PN[:, :, None, None]
    # the least finite number, not -inf: an ignored pixel may see no candidate at all and must stay free of NaN
    logits_bNHW = torch.einsum("bdyx,nd->bnyx", pixels_bDHW, scaled_ND).masked_fill(excluded_bNHW, torch.finfo(scaled_ND.dtype).min)
    own_bHW = targets_bHW >= 0
    cross_entropy_bHW = F.cross_entropy(logits_bNHW, label_bHW, reduction="none")
    loss = torch.where(own_bHW, cross_entropy_bHW * weight_P[label_bHW], 0).sum()
    return loss, ((logits_bNHW.argmax(1) == targets_bHW) & own_bHW).sum()
