"""What the operators are given in a training step, made up: random features, objects that cover a set share of each image, prototypes, bank."""

from dataclasses import dataclass, replace
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from benchmarks.loss.plain import plain_contrast
from mcdist.errors import ConfigError
from mcdist.ops import mask_contrast

TEMPERATURE = 0.5

Result = tuple[Tensor, Tensor]
"""(loss, gradient of the features)."""


@dataclass(frozen=True, slots=True)
class Operands:
    """Features that want a gradient, instance map, prototypes with those that are there, bank, and the prototype of each object."""

    features: Tensor
    instances: Tensor
    prototypes: Tensor
    valid: Tensor
    bank: Tensor
    target_of: Tensor

    def loss(self, features: Tensor, *, implementation: str) -> Tensor:
        """The contrastive loss of `features` among these operands; `implementation` as `mask_contrast` takes it, or "plain"."""
        contrast: Any = plain_contrast if implementation == "plain" else mask_contrast
        return contrast(
            features,
            self.instances,
            self.prototypes,
            self.bank,
            temperature=TEMPERATURE,
            target_of=self.target_of,
            prototype_valid=self.valid,
            implementation=implementation,
        ).loss

    def first_images(self, number: int, *, dtype: torch.dtype) -> "Operands":
        """The same with fewer images, all candidates, and in another precision."""
        return replace(
            self,
            features=self.features.detach()[:number].to(dtype).requires_grad_(),
            instances=self.instances[:number],
            prototypes=self.prototypes.to(dtype),
            bank=self.bank.to(dtype),
            target_of=self.target_of[:number],
        )

    @property
    def num_foreground(self) -> int:
        """Pixels that take part."""
        return int((self.instances >= 1).sum())

    @property
    def num_candidates(self) -> int:
        """Prototypes and bank rows."""
        return len(self.prototypes) + len(self.bank)


def make_operands(
    *,
    batch: int,
    dim: int,
    size_px: int,
    stride: int,
    bank: int,
    max_objects: int,
    objects: int,
    foreground: float,
    device: torch.device,
    dtype: torch.dtype = torch.float32,
) -> Operands:
    """Random features and vectors; the objects are upright strips of a central square that covers the share `foreground` of each image."""
    if not (1 <= objects <= max_objects and 0 < foreground <= 1 and size_px % stride == 0):
        raise ConfigError(
            f"wanted 1 <= --objects <= --max-objects, 0 < --foreground <= 1 and --size-px a multiple of --stride, "
            f"got {objects}, {max_objects}, {foreground:g}, {size_px}, {stride}; change one of them"
        )
    generator = torch.Generator().manual_seed(0)
    side = max(objects, round(size_px * foreground**0.5))
    first = (size_px - side) // 2
    instances = torch.zeros(batch, size_px, size_px, dtype=torch.int16)
    instances[:, first : first + side, first : first + side] = (torch.arange(side) * objects // side + 1).to(torch.int16)
    target_of = torch.arange(batch * max_objects).view(batch, max_objects)
    features = torch.randn(batch, dim, size_px // stride, size_px // stride, generator=generator).to(memory_format=torch.channels_last)
    return Operands(
        features=features.to(device, dtype).requires_grad_(),
        instances=instances.to(device),
        prototypes=F.normalize(torch.randn(batch * max_objects, dim, generator=generator), dim=1).to(device),
        valid=(torch.arange(batch * max_objects) % max_objects < objects).to(device),
        bank=F.normalize(torch.randn(bank, dim, generator=generator), dim=1).to(device),
        target_of=target_of.to(device),
    )
