"""Mask pooling of foreground pixels only: the fast path where counting them is free."""

import torch
from jaxtyping import Float, Int
from torch import Tensor

from mcdist.ops.recompute import recomputed
from mcdist.ops.upsample import BAND_BYTES, unit, upsampled_pixels


def pool_gathered(
    features_BDhw: Float[Tensor, "B D h w"], instances_BHW: Int[Tensor, "B H W"], *, max_objects: int, stride: int
) -> tuple[Float[Tensor, "P D"], Int[Tensor, " P"]]:
    """As `pool_dense`. Memory: one chunk of pixel embeddings, also backward."""
    B, D, h, w = features_BDhw.shape
    features_RD = features_BDhw.permute(0, 2, 3, 1).reshape(-1, D).contiguous()
    row_BHW = instances_BHW.long() - 1 + max_objects * torch.arange(B)[:, None, None]
    pixels_N = ((instances_BHW >= 1) & (instances_BHW <= max_objects)).flatten().nonzero().squeeze(1)
    row_N = row_BHW.flatten()[pixels_N]
    sums_PD = features_BDhw.new_zeros(B * max_objects, D)
    chunk = max(1, BAND_BYTES // (4 * D))
    for pixels_n, row_n in zip(pixels_N.split(chunk), row_N.split(chunk), strict=True):
        sums_PD = sums_PD + recomputed(_sum_pixels, features_RD, pixels_n, row_n, (h, w, stride, len(sums_PD)))
    return sums_PD, torch.bincount(row_N, minlength=len(sums_PD))


def _sum_pixels(features_RD: Tensor, pixels_n: Tensor, row_n: Tensor, sizes: tuple[int, int, int, int]) -> Tensor:
    height, width, stride, num_rows = sizes
    unit_nD = unit(upsampled_pixels(features_RD, pixels_n, height=height, width=width, stride=stride), dim=1)
    place = torch.stack([row_n, torch.arange(len(row_n))])
    member = torch.sparse_coo_tensor(place, torch.ones_like(row_n, dtype=unit_nD.dtype), (num_rows, len(row_n)), check_invariants=False)
    return torch.sparse.mm(member, unit_nD)
