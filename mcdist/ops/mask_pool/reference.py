"""Mask pooling in plain torch: the definition, band by band."""

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from mcdist.ops.upsample import BAND_BYTES, Band, bands, unit, upsampled_band, upsampled_pixels


def pool_dense(
    features_BDhw: Float[Tensor, "B D h w"], instances_BHW: Int[Tensor, "B H W"], *, max_objects: int, stride: int
) -> tuple[Float[Tensor, "P D"], Int[Tensor, " P"]]:
    """(sum of unit pixel embeddings, number of pixels) of every object; all pixels are made, a band at a time."""
    B, D = features_BDhw.shape[:2]
    sums_BOD = features_BDhw.new_zeros(B, max_objects, D)
    counts_BO = torch.zeros(B, max_objects, dtype=torch.int64, device=features_BDhw.device)
    for band in bands(features_BDhw, stride=stride, numbers_per_pixel=D + max_objects):
        members_bOn = _members(instances_BHW[band.images, band.rows], max_objects=max_objects)
        sums_bOD = checkpoint(_sum_band, features_BDhw, members_bOn, band, stride, use_reentrant=False, preserve_rng_state=False)
        images = torch.arange(B, device=features_BDhw.device)[band.images]
        sums_BOD = sums_BOD.index_add(0, images, sums_bOD)
        counts_BO = counts_BO.index_add(0, images, members_bOn.sum(2))
    return sums_BOD.flatten(0, 1), counts_BO.flatten()


def pool_gathered(
    features_BDhw: Float[Tensor, "B D h w"], instances_BHW: Int[Tensor, "B H W"], *, max_objects: int, stride: int
) -> tuple[Float[Tensor, "P D"], Int[Tensor, " P"]]:
    """The same, of foreground pixels only."""
    B, D, h, w = features_BDhw.shape
    features_RD = features_BDhw.permute(0, 2, 3, 1).reshape(-1, D)
    row_BHW = instances_BHW.long() - 1 + max_objects * torch.arange(B)[:, None, None]
    pixels_N = ((instances_BHW >= 1) & (instances_BHW <= max_objects)).flatten().nonzero().squeeze(1)
    row_N = row_BHW.flatten()[pixels_N]
    sums_PD = features_BDhw.new_zeros(B * max_objects, D)
    chunk = max(1, BAND_BYTES // (4 * D))
    for pixels_n, row_n in zip(pixels_N.split(chunk), row_N.split(chunk), strict=True):
        sums_PD = sums_PD + checkpoint(_sum_pixels, features_RD, pixels_n, row_n, (h, w, stride, len(sums_PD)), use_reentrant=False, preserve_rng_state=False)
    return sums_PD, torch.bincount(row_N, minlength=len(sums_PD))


def _members(instances_bHW: Int[Tensor, "b H W"], *, max_objects: int) -> Tensor:
    objects_O = torch.arange(1, max_objects + 1, device=instances_bHW.device)
    return instances_bHW.flatten(1)[:, None] == objects_O[None, :, None]


def _sum_band(features_BDhw: Tensor, members_bOn: Tensor, band: Band, stride: int) -> Tensor:
    pixels_bDn = unit(upsampled_band(features_BDhw, band, stride=stride), dim=1).flatten(2)
    return torch.einsum("bon,bdn->bod", members_bOn.to(pixels_bDn.dtype), pixels_bDn)


def _sum_pixels(features_RD: Tensor, pixels_n: Tensor, row_n: Tensor, sizes: tuple[int, int, int, int]) -> Tensor:
    height, width, stride, num_rows = sizes
    unit_nD = unit(upsampled_pixels(features_RD, pixels_n, height=height, width=width, stride=stride), dim=1)
    place = torch.stack([row_n, torch.arange(len(row_n))])
    member = torch.sparse_coo_tensor(place, torch.ones_like(row_n, dtype=unit_nD.dtype), (num_rows, len(row_n)), check_invariants=False)
    return torch.sparse.mm(member, unit_nD)
