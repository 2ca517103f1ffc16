"""Upsampling: the weights of linear upsampling along one axis."""

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import interpolate


def upsampling_weights(length: int, *, size: int, device: torch.device) -> Float[Tensor, "n N"]:
    """Row q: the weight of grid point q in each of the `size` pixels that linear upsampling makes along one axis."""
    return interpolate(torch.eye(length, device=device)[None], size=size, mode="linear", align_corners=False)[0]
