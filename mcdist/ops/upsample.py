"""Full-resolution pixel embeddings, made for a band of feature rows at a time and never for a whole batch.

The embedding of a pixel is the bilinear mean (align_corners=False) of its four nearest feature vectors, divided by its length.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor
from torch.autograd.function import once_differentiable

SHORTEST = 1e-12
"""A vector is divided by its length, but at least by this; a shorter one passes no gradient."""

BAND_BYTES = 64 * 2**20
"""The largest temporary; a band is cut to stay below it, but has at least one feature row."""


@dataclass(frozen=True, slots=True)
class Band:
    """Feature rows `first:last` of the images `images`, and the pixel rows `rows` at the same place."""

    images: slice
    first: int
    last: int
    rows: slice


def bands(features_BDhw: Float[Tensor, "B D h w"], *, stride: int, numbers_per_pixel: int) -> Iterator[Band]:
    """Cut the batch into bands of several images, one image or some of its rows; with `numbers_per_pixel` each fits into BAND_BYTES."""
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


def unit(vectors: Float[Tensor, "..."], *, dim: int) -> Float[Tensor, "..."]:
    """Vectors along `dim` divided by their length; those shorter than SHORTEST are divided by it and pass no gradient."""
    return _Unit.apply(vectors, dim)


class _Unit(torch.autograd.Function):
    """To keep a zero length out of the gradient, plain torch would need several more tensors of full size."""

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
