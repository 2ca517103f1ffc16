"""Random weights: what an architecture sees before it has learnt anything, as a floor.

A network that starts from random weights expects its batch norms to scale each layer. In evaluation mode they do nothing before they have seen data, and
the features fade from layer to layer: EfficientNet-Lite0's are 3e-8, which is nothing in the fp16 of a store. So the norms see noise once.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import interpolate
from torch.nn.modules.batchnorm import _BatchNorm

SIDE_PX, NUM_IMAGES = 128, 4


def calibrate_norms(backbone: nn.Module, *, seed: int) -> None:
    """Set the statistics of all batch norms to those of pink noise, in one pass; parameters, modes and torch's random numbers stay as they are."""
    norms = [module for module in backbone.modules() if isinstance(module, _BatchNorm) and module.track_running_stats]
    if norms:
        images = pink_noise(seed=seed).to(next(backbone.parameters()).device)
        with _measuring(backbone, norms), torch.no_grad():
            backbone(images)


def pink_noise(*, seed: int) -> Float[Tensor, "B 3 S S"]:
    """Noise with as much variance in each octave, as photos have, mean 0 and variance 1: as far as norms go, like normalised photos."""
    generator = torch.Generator().manual_seed(seed)
    sides = [SIDE_PX >> octave for octave in range(SIDE_PX.bit_length())]
    octaves = [torch.randn(NUM_IMAGES, 3, side, side, generator=generator) for side in sides]
    noise = torch.stack([interpolate(octave, size=(SIDE_PX, SIDE_PX), mode="bilinear", align_corners=False) for octave in octaves]).sum(dim=0)
    return (noise - noise.mean()) / noise.std()


@contextmanager
def _measuring(backbone: nn.Module, norms: list[_BatchNorm]) -> Iterator[None]:
    """The whole in evaluation mode but for `norms`, which take the mean over what they see."""
    modes, momenta = [(module, module.training) for module in backbone.modules()], [norm.momentum for norm in norms]
    backbone.eval()
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None
        norm.train()
    try:
        yield
    finally:
        for norm, momentum in zip(norms, momenta, strict=True):
            norm.momentum = momentum
        for module, training in modes:
            module.training = training
