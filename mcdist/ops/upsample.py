"""Full-resolution pixel embeddings in pieces: a band of feature rows (dense), or chosen pixels (gathered). Never a whole batch.

The embedding of a pixel is the bilinear mean (align_corners=False) of its four nearest feature vectors, divided by its length.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor
from torch.autograd.function import once_differentiable

SHORTEST = 1e-12
"""Vectors are divided by no less than this length; a shorter one passes no gradient."""

BAND_BYTES = 64 * 2**20
"""Size of one temporary; a band or chunk is cut so that it stays below, at least one feature row or one pixel."""


@dataclass(frozen=True, slots=True)
class Band:
    """Feature rows `first:last` of the images `images`, and the same place in the image as pixel rows `rows`."""

    images: slice
    first: int
    last: int
    rows: slice


def bands(features_BDhw: Float[Tensor, "B D h w"], *, stride: int, numbers_per_pixel: int) -> Iterator[Band]:
    """Cut the batch into bands of at most BAND_BYTES with `numbers_per_pixel` numbers a pixel: several images, one, or rows of one."""
    B, _, h, w = features_BDhw.shape
    rows_fit = max(1, BAND_BYTES // (stride * stride * w * numbers_per_pixel * 4))
    images_fit = max(1, rows_fit // h)
    for image in range(0, B, images_fit):
        for first in range(0, h, rows_fit):
            last = min(first + rows_fit, h)
            yield Band(slice(image, min(image + images_fit, B)), first, last, slice(first * stride, last * stride))


def upsampled_band(features_BDhw: Float[Tensor, "B D h w"], band: Band, *, stride: int) -> Float[Tensor, "b D rows W"]:
    """The pixels of one band, not normalised. One more feature row on either side makes the cut invisible."""
    h, w = features_BDhw.shape[2:]
    low, high = max(band.first - 1, 0), min(band.last + 1, h)
    piece = features_BDhw[band.images, :, low:high]
    pixels = F.interpolate(piece, size=((high - low) * stride, w * stride), mode="bilinear", align_corners=False)
    return pixels[:, :, (band.first - low) * stride : (band.last - low) * stride]


def upsampled_pixels(features_RD: Float[Tensor, "R D"], pixels_N: Int[Tensor, " N"], *, height: int, width: int, stride: int) -> Float[Tensor, "N D"]:
    """The chosen pixels, not normalised, as one product of a sparse matrix of bilinear weights and the feature vectors.

    Args:
        features_RD: row (b * height + y) * width + x is the feature vector at (y, x) of image b.
        pixels_N: numbers (b * height * stride + Y) * width * stride + X of the wanted pixels.
        height: of the feature map; `width` likewise.
        stride: pixels a feature on either axis.
    """
    corner_N4, weight_N4 = _corners(pixels_N, height=height, width=width, stride=stride, dtype=features_RD.dtype)
    pixel_N4 = torch.arange(len(pixels_N), device=pixels_N.device)[:, None].expand_as(corner_N4)
    place = torch.stack([pixel_N4.reshape(-1), corner_N4.reshape(-1)])
    matrix = torch.sparse_coo_tensor(place, weight_N4.reshape(-1), (len(pixels_N), len(features_RD)), check_invariants=False)
    return torch.sparse.mm(matrix, features_RD)


def unit(vectors: Float[Tensor, "..."], *, dim: int) -> Float[Tensor, "..."]:
    """Vectors along `dim` divided by their length; those shorter than SHORTEST are divided by it and pass no gradient."""
    return _Unit.apply(vectors, dim)


class _Unit(torch.autograd.Function):
    """Plain torch would need several more tensors of full size to keep a zero length out of the gradient."""

    @staticmethod
    def forward(ctx: Any, vectors: Tensor, dim: int) -> Tensor:
        length = torch.linalg.vector_norm(vectors, dim=dim, keepdim=True)
        scale = length.clamp_min(SHORTEST).reciprocal()
        result = vectors * scale
        ctx.dim = dim
        ctx.save_for_backward(result, scale.masked_fill(length < SHORTEST, 0))
        return result

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, dresult: Tensor) -> tuple[Tensor, None]:
        result, scale = ctx.saved_tensors
        along = (dresult * result).sum(ctx.dim, keepdim=True)
        return torch.addcmul(dresult, result, along, value=-1).mul_(scale), None


def _corners(pixels_N: Int[Tensor, " N"], *, height: int, width: int, stride: int, dtype: torch.dtype) -> tuple[Int[Tensor, "N 4"], Float[Tensor, "N 4"]]:
    row, column = pixels_N // (width * stride), pixels_N % (width * stride)
    image, row = row // (height * stride), row % (height * stride)
    top, bottom, down = _neighbours(row, length=height, stride=stride, dtype=dtype)
    left, right, along = _neighbours(column, length=width, stride=stride, dtype=dtype)
    upper, lower = (image * height + top) * width, (image * height + bottom) * width
    corner_N4 = torch.stack([upper + left, upper + right, lower + left, lower + right], dim=1)
    up, back = 1 - down, 1 - along
    return corner_N4, torch.stack([up * back, up * along, down * back, down * along], dim=1)


def _neighbours(
    pixel_N: Int[Tensor, " N"], *, length: int, stride: int, dtype: torch.dtype
) -> tuple[Int[Tensor, " N"], Int[Tensor, " N"], Float[Tensor, " N"]]:
    place_N = ((pixel_N.to(dtype) + 0.5) / stride - 0.5).clamp(0, length - 1)
    before_N = place_N.long()
    return before_N, (before_N + 1).clamp_max(length - 1), place_N - before_N
