"""Random operands of the operators for the tests: ragged maps, void, several objects, rows that are not valid."""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F

from mcdist.ops import mask_contrast


@dataclass(frozen=True)
class Case:
    """Operands of `mask_contrast` on the CPU in float64, and its options."""

    features: torch.Tensor
    instances: torch.Tensor
    prototypes: torch.Tensor
    bank: torch.Tensor
    options: dict

    def to(self, device: torch.device | str = "cpu", dtype: torch.dtype = torch.float64) -> "Case":
        """The same numbers elsewhere: float tensors in `dtype`, all on `device`."""

        def moved(value: Any) -> Any:
            if not isinstance(value, torch.Tensor):
                return value
            return value.to(device, dtype if value.is_floating_point() else value.dtype)

        fields = {name: moved(getattr(self, name)) for name in ("features", "instances", "prototypes", "bank")}
        return replace(self, **fields, options={name: moved(value) for name, value in self.options.items()})

    def numpy(self) -> tuple[list[np.ndarray], dict]:
        """Operands and options for the naive loop."""
        options = {name: value.numpy() if isinstance(value, torch.Tensor) else value for name, value in self.options.items()}
        return [self.features.numpy(), self.instances.numpy(), self.prototypes.numpy(), self.bank.numpy()], options

    def run(self, **more: object) -> tuple[torch.Tensor, int, int, torch.Tensor]:
        """(loss, correct, num_pixels, gradient of the features)."""
        features = self.features.clone().requires_grad_()
        result = mask_contrast(features, self.instances, self.prototypes, self.bank, **{**self.options, **more})
        (gradient,) = torch.autograd.grad(result.loss, features)
        return result.loss.detach(), int(result.correct), int(result.num_pixels), gradient


def unit_rows(num_rows: int, D: int, generator: torch.Generator) -> torch.Tensor:
    """Random unit vectors in float64."""
    return F.normalize(torch.randn(num_rows, D, dtype=torch.float64, generator=generator), dim=1)


def make_case(
    seed: int = 0,
    *,
    B: int = 2,
    D: int = 5,
    h: int = 3,
    w: int = 2,
    stride: int = 4,
    num_objects: int = 3,
    num_bank: int = 4,
    num_other: int = 2,
    **options: object,
) -> Case:
    """Random operands: `num_other` prototypes belong to no object here, as if another rank had brought them."""
    generator = torch.Generator().manual_seed(seed)
    num_prototypes = B * num_objects + num_other
    instances = torch.randint(-1, num_objects + 1, (B, h * stride, w * stride), generator=generator, dtype=torch.int16)
    target_of = torch.randperm(num_prototypes, generator=generator)[: B * num_objects].view(B, num_objects)
    return Case(
        features=torch.randn(B, D, h, w, dtype=torch.float64, generator=generator),
        instances=instances,
        prototypes=unit_rows(num_prototypes, D, generator),
        bank=unit_rows(num_bank, D, generator),
        options={"temperature": 0.5, "target_of": target_of, **options},
    )
