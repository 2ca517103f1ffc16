"""Normalise: 8-bit pixels to the numbers every backbone here was trained on."""

import torch
from jaxtyping import Float, UInt8
from torch import Tensor

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


def normalise(image: UInt8[Tensor, "*B 3 H W"]) -> Float[Tensor, "*B 3 H W"]:
    """(image / 255 - mean) / std per colour with ImageNet's mean and standard deviation, float32, on the image's device."""
    mean, std = statistics_on(image.device)
    return (image.float() / 255 - mean) / std


def statistics_on(device: torch.device) -> tuple[Float[Tensor, "3 1 1"], Float[Tensor, "3 1 1"]]:
    """ImageNet's mean and standard deviation of pixels in 0..1; the host does not wait for the device."""
    mean, std = (torch.tensor(values).view(3, 1, 1).to(device, non_blocking=True) for values in (IMAGENET_MEAN, IMAGENET_STD))
    return mean, std
