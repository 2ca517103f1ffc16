"""Weighted pooling: object vectors as weighted sums of upsampled embeddings, without upsampling any embedding.

Upsampling U is linear, so sum_p weight_p (U f)_p = sum_q (U' weight)_q f_q: the weights are folded down to the grid of the features instead.
Every protocol is this sum with weights of its own: the saliency logit, or 1 / |u_p| for a mean of unit pixel embeddings. `mcdist.ops.mask_pool`
means the latter too, but makes the pixels, band by band: 2 GiB a photo with the 2,048 channels of a backbone at 512 x 512.
"""

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn.functional import interpolate, normalize


def grid_weights(
    objects: Int[Tensor, "B H W"],
    *,
    weight: Float[Tensor, "B H W"],
    max_objects: int,
    height: int,
    width: int,
) -> Float[Tensor, "B M h w"]:
    """U' (weight inside object i), one map an object, for features of `height` x `width`. Extra memory: one map `[B, H, W]` at a time."""
    folded = [fold_down(torch.where(objects == number, weight, 0.0), height=height, width=width) for number in range(1, max_objects + 1)]
    return torch.stack(folded, dim=1)


def weighted_pool(features: Float[Tensor, "B D h w"], grid_weight: Float[Tensor, "B M h w"]) -> Float[Tensor, "B M D"]:
    """normalize(sum_{p in o} weight_p u_p), u = `features` upsampled bilinearly (align_corners=False), weights folded by `grid_weights`.

    An object without pixels gives the zero vector.
    """
    return normalize(torch.einsum("bmhw,bdhw->bmd", grid_weight, features), dim=2)


def fold_down(values: Float[Tensor, "B H W"], *, height: int, width: int) -> Float[Tensor, "B h w"]:
    """U' values: the adjoint of the bilinear upsampling from `height` x `width` to H x W."""
    rows_hH = upsampling_weights(height, size=values.shape[1], device=values.device)
    columns_wW = upsampling_weights(width, size=values.shape[2], device=values.device)
    return rows_hH @ (values @ columns_wW.T)


def upsampling_weights(length: int, *, size: int, device: torch.device) -> Float[Tensor, "n N"]:
    """Row q: the weight of grid point q in each of the `size` pixels that linear upsampling makes along one axis."""
    return interpolate(torch.eye(length, device=device)[None], size=size, mode="linear", align_corners=False)[0]
