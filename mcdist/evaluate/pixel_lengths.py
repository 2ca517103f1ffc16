"""Pixel lengths: |u_p| of every upsampled embedding, without upsampling any embedding.

|u_p|^2 is a quadratic form of the four features around p. Each coefficient is a product of one weight an axis, so the form is a linear
upsampling of a few low-resolution maps: the dot products of neighbouring features.
"""

import torch
from jaxtyping import Float
from torch import Tensor

from mcdist.evaluate.weighted_pool import upsampling_weights

RELATIVE_SQUARE_MIN = 1e-6
"""|u_p|^2 is taken as no less than this share of its neighbours' mean |f|^2, where float32 cannot tell it from zero (they cancel to 1 in 1,000)."""


def pixel_lengths(features: Float[Tensor, "B D h w"], *, height: int, width: int) -> Float[Tensor, "B H W"]:
    """|u_p|, u = `features` upsampled bilinearly (align_corners=False) to `height` x `width`. Memory: O(B (h w^2 + H W)), whatever D."""
    rows_hH = upsampling_weights(features.shape[2], size=height, device=features.device)
    columns_wW = upsampling_weights(features.shape[3], size=width, device=features.device)
    square_Bhw, products_Brc = _neighbour_products(features)
    squares = _own_and_crossed(rows_hH).T @ products_Brc @ _own_and_crossed(columns_wW)
    least = RELATIVE_SQUARE_MIN * (rows_hH.T @ square_Bhw @ columns_wW)
    return torch.maximum(squares, least).sqrt()


def _own_and_crossed(weights_nN: Float[Tensor, "n N"]) -> Float[Tensor, "m N"]:
    """n rows of squared weights, then n - 1 rows of twice the product of a grid point's weight with the next one's."""
    return torch.cat([weights_nN.square(), 2 * weights_nN[:-1] * weights_nN[1:]])


def _neighbour_products(features: Float[Tensor, "B D h w"]) -> tuple[Float[Tensor, "B h w"], Float[Tensor, "B r c"]]:
    """|f|^2, and [[|f|^2, f . right], [f . below, mean of the cell's two diagonals]]: h + h-1 rows, w + w-1 columns.

    As matrix products of whole feature rows with themselves and with the row below, of which the diagonals are read: more multiplications than
    are needed, far less memory traffic.
    """
    rows_BhwD = features.permute(0, 2, 3, 1)
    same_Bhww = rows_BhwD @ rows_BhwD.transpose(2, 3)
    below_Bhww = rows_BhwD[:, :-1] @ rows_BhwD[:, 1:].transpose(2, 3)
    square, right = same_Bhww.diagonal(dim1=2, dim2=3), same_Bhww.diagonal(1, dim1=2, dim2=3)
    below = below_Bhww.diagonal(dim1=2, dim2=3)
    diagonals = (below_Bhww.diagonal(1, dim1=2, dim2=3) + below_Bhww.diagonal(-1, dim1=2, dim2=3)) / 2
    return square, torch.cat([torch.cat([square, right], dim=2), torch.cat([below, diagonals], dim=2)], dim=1)
