"""Small geometry on a grid of patches: which are connected, which touch the border, how a grid becomes pixels."""

import numpy
import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from scipy import ndimage
from torch import Tensor

CORNERS = ((0, 0), (0, -1), (-1, 0), (-1, -1))


def part_with(mask_hw: Bool[Tensor, "h w"], *, seed: tuple[int, int]) -> Bool[Tensor, "h w"]:
    """The 4-connected component of `mask_hw` that contains `seed` (row, column); empty where the seed is outside of the mask."""
    labels, _ = ndimage.label(mask_hw.cpu().numpy())
    number = labels[seed]
    return torch.from_numpy((labels == number) & (number > 0)).to(mask_hw.device)


def is_background_side(mask_hw: Bool[Tensor, "h w"]) -> bool:
    """Whether this side of a cut is the background: three or four of the photo's corners belong to it (MaskCut's rule)."""
    return sum(bool(mask_hw[corner]) for corner in CORNERS) >= 3


def seed_of(values_N: Float[Tensor, " N"], *, width: int) -> tuple[int, int]:
    """(row, column) of the largest value on a grid of `width` columns, the first of equals."""
    return divmod(int(values_N.argmax()), width)


def affinity(features_BCN: Float[Tensor, "B C N"]) -> Float[Tensor, "B N N"]:
    """Cosine of every patch with every other of its photo."""
    unit_BCN = F.normalize(features_BCN, dim=1)
    return unit_BCN.mT @ unit_BCN


def to_pixels(masks_nhw: Bool[Tensor, "n h w"], *, height: int, width: int) -> Bool[numpy.ndarray, "n height width"]:
    """Patch masks as pixel masks: bilinear, cut at one half, so that edges run between patches instead of along them."""
    values = F.interpolate(masks_nhw[None].float(), size=(height, width), mode="bilinear", align_corners=False)[0]
    return (values > 0.5).cpu().numpy()


def instance_map(masks_nHW: Bool[numpy.ndarray, "n H W"], *, height: int, width: int) -> Int[numpy.ndarray, "H W"]:
    """Object i + 1 where mask i is the first that holds the pixel; 0 where none does. int16."""
    values = numpy.zeros((height, width), dtype=numpy.int16)
    for number, mask in enumerate(masks_nHW, start=1):
        values[(values == 0) & mask] = number
    return values
