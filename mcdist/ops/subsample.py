"""Subsample: of each object only a given number of pixels takes part, chosen by numbers that depend on a counter alone.

The choice is made on the instance map, before any kernel: so it is the same in every implementation, on every device and on any number of
ranks, can be repeated after a restart, and cells without a chosen pixel are never visited.
"""

import torch
from jaxtyping import Int, Int64
from torch import Tensor

from mcdist.types import VOID

_HASH_BITS = 46
"""The pixels of an object with the smallest hashes are chosen; among equal hashes (2 pixels in 10^9) the first pixel is."""


def subsample(instances_BHW: Int[Tensor, "B H W"], *, num_objects: int, pixels_per_object: int, seed: int | Int[Tensor, " B"]) -> Int[Tensor, "B H W"]:
    """The map with all but `pixels_per_object` random pixels of each object made void; smaller objects keep all pixels.

    `seed`: one number, or one for each image, so that the choice does not depend on which images share a call. Cost: one sort of the map.
    """
    B, H, W = instances_BHW.shape
    object_Bn = instances_BHW.flatten(1).clamp(0, num_objects + 1).long()
    key_Bn = (object_Bn << _HASH_BITS) | _hashes(seed, B=B, num_pixels=H * W, device=instances_BHW.device)
    order_Bn = key_Bn.sort(dim=1, stable=True).indices
    sorted_Bn = object_Bn.gather(1, order_Bn)
    # the place of a pixel among those of its own object: its place in the row, less where the object begins
    place_Bn = torch.arange(H * W, device=order_Bn.device).expand_as(order_Bn) - torch.searchsorted(sorted_Bn, sorted_Bn)
    chosen_Bn = torch.empty_like(place_Bn, dtype=torch.bool).scatter_(1, order_Bn, place_Bn < pixels_per_object)
    return torch.where(chosen_Bn.view_as(instances_BHW) | (instances_BHW < 1), instances_BHW, VOID)


def _hashes(seed: int | Tensor, *, B: int, num_pixels: int, device: torch.device) -> Int64[Tensor, "B n"]:
    """One number of _HASH_BITS a pixel: the finalizer of splitmix64 (Steele, Lea and Flood, 2014) over a counter, in wrapping int64."""
    seed_B = seed.to(torch.int64) if isinstance(seed, Tensor) else torch.arange(B, device=device) + seed * B
    counter = _mixed(seed_B[:, None]) + torch.arange(1, num_pixels + 1, device=device)
    return _shifted(_mixed(counter * -7046029254386353131), 64 - _HASH_BITS)  # 2^64 over the golden ratio


def _mixed(bits: Tensor) -> Tensor:
    bits = (bits ^ _shifted(bits, 30)) * -4658895280553007687
    bits = (bits ^ _shifted(bits, 27)) * -7723592293110705685
    return bits ^ _shifted(bits, 31)


def _shifted(bits: Tensor, places: int) -> Tensor:
    """A shift to the right that brings in zeros: int64 is signed, the algorithm's numbers are not."""
    return (bits >> places) & ((1 << (64 - places)) - 1)
