"""Lengths: |u_p| of every upsampled embedding, without upsampling any embedding.

|u_p|^2 is a quadratic form of the four features around p. Each coefficient is a product of one weight an axis, so the form is a linear
upsampling of a few low-resolution maps: the dot products of neighbouring features.
"""

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import interpolate

from mcdist.evaluate.extract.upsampling import upsampling_weights

RELATIVE_SQUARE_MIN = 1e-6
"""|u_p|^2 is taken as no less than this share of its neighbours' mean |f|^2, where float32 cannot tell it from zero (they cancel to 1 in 1,000)."""

CHANNELS_AT_ONCE = 128
"""The products of this many channels fit a core's cache at 64 x 64: 5 times faster than all 2,048 at once."""


def pixel_lengths(features: Float[Tensor, "B D h w"], *, height: int, width: int) -> Float[Tensor, "B H W"]:
    """|u_p|, u = `features` upsampled bilinearly (align_corners=False) to `height` x `width`. Extra memory: O(B H W), whatever D."""
    rows_hH = upsampling_weights(features.shape[2], size=height, device=features.device)
    columns_wW = upsampling_weights(features.shape[3], size=width, device=features.device)
    products_Brc = torch.stack([_neighbour_products(photo) for photo in features])
    squares = _own_and_crossed(rows_hH).T @ products_Brc @ _own_and_crossed(columns_wW)
    own_Bhw = products_Brc[:, : features.shape[2], : features.shape[3]]
    least = RELATIVE_SQUARE_MIN * interpolate(own_Bhw[:, None], size=(height, width), mode="bilinear", align_corners=False)[:, 0]
    return torch.maximum(squares, least).sqrt()


def _own_and_crossed(weights_nN: Float[Tensor, "n N"]) -> Float[Tensor, "m N"]:
    """n rows of squared weights, then n - 1 rows of twice the product of a grid point's weight with the next one's."""
    return torch.cat([weights_nN.square(), 2 * weights_nN[:-1] * weights_nN[1:]])


def _neighbour_products(photo: Float[Tensor, "D h w"]) -> Float[Tensor, "r c"]:
    """[[|f|^2, f . right], [f . below, mean of the cell's two diagonals]]: h + h-1 rows, w + w-1 columns."""
    total = photo.new_zeros(2 * photo.shape[1] - 1, 2 * photo.shape[2] - 1)
    for f in photo.split(CHANNELS_AT_ONCE):
        upper = torch.cat([(f * f).sum(0), (f[:, :, :-1] * f[:, :, 1:]).sum(0)], dim=1)
        diagonals = (f[:, :-1, :-1] * f[:, 1:, 1:] + f[:, :-1, 1:] * f[:, 1:, :-1]).sum(0) / 2
        total += torch.cat([upper, torch.cat([(f[:, :-1] * f[:, 1:]).sum(0), diagonals], dim=1)])
    return total
