"""Normalise: 8-bit pixels to the numbers every backbone here was trained on."""

import torch
from jaxtyping import Float, UInt8
from torch import Tensor

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


def normalise(image: UInt8[Tensor, "*B 3 H W"]) -> Float[Tensor, "*B 3 H W"]:
    """(image / 255 - mean) / std per colour with ImageNet's mean and standard deviation, float32, on the image's device."""
    shares = image.float() / 255
    return standardise(shares, out=shares)


def standardise(shares: Float[Tensor, "*B 3 H W"], *, out: Float[Tensor, "*B 3 H W"]) -> Float[Tensor, "*B 3 H W"]:
    """(shares - mean) / std per colour, written to `out`."""
    mean, std = (torch.tensor(values).view(3, 1, 1).to(shares.device, non_blocking=True) for values in (IMAGENET_MEAN, IMAGENET_STD))
    return torch.sub(shares, mean, out=out).div_(std)
