"""The definition of mask pooling in plain torch, a band at a time."""

import torch
from jaxtyping import Float, Int
from torch import Tensor

from mcdist.ops.recompute import recomputed
from mcdist.ops.upsample import Band, bands, unit, upsampled_band


def pool_dense(
    features_BDhw: Float[Tensor, "B D h w"], instances_BHW: Int[Tensor, "B H W"], *, max_objects: int, stride: int
) -> tuple[Float[Tensor, "P D"], Int[Tensor, " P"]]:
    """(sum of unit pixel embeddings, number of pixels) of every object; all pixels are computed, a band at a time."""
    B, D = features_BDhw.shape[:2]
    sums_BOD = features_BDhw.new_zeros(B, max_objects, D)
    counts_BO = torch.zeros(B, max_objects, dtype=torch.int64, device=features_BDhw.device)
    for band in bands(features_BDhw, stride=stride, numbers_per_pixel=D + max_objects):
        members_bOn = _members(instances_BHW[band.images, band.rows], max_objects=max_objects)
        sums_bOD = recomputed(_sum_band, features_BDhw, members_bOn, band, stride)
        images = torch.arange(B, device=features_BDhw.device)[band.images]
        sums_BOD = sums_BOD.index_add(0, images, sums_bOD)
        counts_BO = counts_BO.index_add(0, images, members_bOn.sum(2))
    return sums_BOD.flatten(0, 1), counts_BO.flatten()


def _members(instances_bHW: Int[Tensor, "b H W"], *, max_objects: int) -> Tensor:
    objects_O = torch.arange(1, max_objects + 1, device=instances_bHW.device)
    return instances_bHW.flatten(1)[:, None] == objects_O[None, :, None]


def _sum_band(features_BDhw: Tensor, members_bOn: Tensor, band: Band, stride: int) -> Tensor:
    pixels_bDn = unit(upsampled_band(features_BDhw, band, stride=stride), dim=1).flatten(2)
    return torch.einsum("bon,bdn->bod", members_bOn.to(pixels_bDn.dtype), pixels_bDn)
