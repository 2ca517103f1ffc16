"""Upsampled: logits, or numbers, on a grid to the class of every pixel, in bands of rows so that memory does not grow with pixels times classes."""

from functools import lru_cache

import numpy
import torch
from jaxtyping import Float, Float32, Shaped, UInt8
from torch import Tensor
from torch.nn.functional import interpolate

from mcdist.data.pictures.resize import resize_nearest

LOGITS_AT_ONCE = 2**23
"""Upsampled logits in memory at a time, 32 MiB."""


def pixel_classes(logits: Float[numpy.ndarray, "h w C"], *, size_px: tuple[int, int]) -> UInt8[numpy.ndarray, "H W"]:
    """The largest logit of each pixel, upsampled bilinearly (align_corners=False) to size_px = (H, W); the first of several. C <= 255."""
    height, width, num_classes = logits.shape
    rows_hH, columns_wW = _weights(height, size_px[0]), _weights(width, size_px[1])
    across = torch.einsum("hwc,wW->hWc", torch.from_numpy(numpy.ascontiguousarray(logits, dtype=numpy.float32)), columns_wW)
    band = max(1, LOGITS_AT_ONCE // (num_classes * size_px[1]))
    flat = across.reshape(height, -1)
    found = [(rows.T @ flat).view(-1, size_px[1], num_classes).argmax(dim=2).to(torch.uint8) for rows in rows_hH.split(band, dim=1)]
    return torch.cat(found).numpy()


def pixel_numbers(patches: Shaped[numpy.ndarray, "h w"], *, size_px: tuple[int, int]) -> Shaped[numpy.ndarray, "H W"]:
    """The number of the patch under the centre of each pixel, for size_px = (H, W); smaller than the grid too."""
    return resize_nearest(patches, height=size_px[0], width=size_px[1])


@lru_cache(maxsize=64)
def _weights(length: int, size: int) -> Float32[Tensor, "n N"]:
    """Row q: the weight of grid point q in each of `size` pixels."""
    return interpolate(torch.eye(length)[None], size=size, mode="linear", align_corners=False)[0].contiguous()
