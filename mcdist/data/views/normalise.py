"""Normalise: 8-bit pixels to the numbers that a backbone was trained on."""

import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from mcdist.types import Rgb


def normalise(image: UInt8[Tensor, "*B 3 H W"], *, mean: Rgb, std: Rgb) -> Float[Tensor, "*B 3 H W"]:
    """(image / 255 - mean) / std per colour, float32, on the image's device. `mean` and `std` are of pixels in 0..1: a backbone's own."""
    mean_311, std_311 = statistics_on(image.device, mean=mean, std=std)
    return (image.float() / 255 - mean_311) / std_311


def statistics_on(device: torch.device, *, mean: Rgb, std: Rgb) -> tuple[Float[Tensor, "3 1 1"], Float[Tensor, "3 1 1"]]:
    """Mean and standard deviation as tensors on the device; the host does not wait for it."""
    mean_311, std_311 = (torch.tensor(values).view(3, 1, 1).to(device, non_blocking=True) for values in (mean, std))
    return mean_311, std_311
