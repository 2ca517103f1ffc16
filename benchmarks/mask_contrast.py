"""What do the implementations of the contrastive loss cost, forward and backward, in time and in extra memory?

    python benchmarks/mask_contrast.py --json mask_contrast.json

The default shape is that of a default training step (see mcdist/config.py). An implementation whose loss or gradient is not the reference's is
refused, not timed. On CUDA only the reference can run: "gathered" counts pixels on the host.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated

import torch
import torch.nn.functional as F
import typer
from harness import Measurement, choose_device, measurement, peak_extra_mib, publish, run, times_ms
from torch import Tensor

from mcdist.errors import ConfigError, McdistError
from mcdist.ops import mask_contrast

PROVIDERS = {"cpu": ("reference", "gathered"), "cuda": ("reference",)}
LOSS_TOLERANCE = 1e-5
GRADIENT_TOLERANCE = 1e-4
"""Largest |difference| / |reference|, float32; sums over millions of pixels in another order stay well below."""

Result = tuple[Tensor, Tensor]
"""(loss, gradient of the features)."""


@dataclass(frozen=True, slots=True)
class Operands:
    """What the loss is given in a step: features that want a gradient, instance map, prototypes with those that are there, bank."""

    features: Tensor
    instances: Tensor
    prototypes: Tensor
    valid: Tensor
    bank: Tensor
    target_of: Tensor

    def loss_and_gradient(self, *, implementation: str) -> Result:
        """One forward and backward."""
        result = mask_contrast(
            self.features,
            self.instances,
            self.prototypes,
            self.bank,
            temperature=0.5,
            target_of=self.target_of,
            prototype_valid=self.valid,
            implementation=implementation,
        )
        (gradient,) = torch.autograd.grad(result.loss, self.features)
        return result.loss.detach(), gradient


def make_operands(
    *, batch: int, dim: int, size_px: int, stride: int, bank: int, max_objects: int, objects: int, foreground: float, device: torch.device
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
    return Operands(
        features=torch.randn(batch, dim, size_px // stride, size_px // stride, generator=generator).to(device).requires_grad_(),
        instances=instances.to(device),
        prototypes=F.normalize(torch.randn(batch * max_objects, dim, generator=generator), dim=1).to(device),
        valid=(torch.arange(batch * max_objects) % max_objects < objects).to(device),
        bank=F.normalize(torch.randn(bank, dim, generator=generator), dim=1).to(device),
        target_of=target_of.to(device),
    )


def require_agreement(result: Result, *, reference: Result, provider: str) -> None:
    """McdistError where loss or gradient differ by more than float32 explains; a NaN differs."""
    bounds = {"loss": LOSS_TOLERANCE, "gradient": GRADIENT_TOLERANCE}
    for (name, bound), got, want in zip(bounds.items(), result, reference, strict=True):
        difference = float((got - want).norm() / want.norm())
        if not difference <= bound:
            raise McdistError(f"{provider}'s {name} is {difference:.1e} away from the reference's, {bound:g} is allowed; not timed: mend it first (tests/ops)")


def measure(operands: Operands, *, shape: str, num_runs: int, device: torch.device) -> list[Measurement]:
    """Time and peak memory of each implementation that this device can run, after its check."""
    reference = operands.loss_and_gradient(implementation="reference")
    rows = []
    for provider in PROVIDERS[device.type]:
        action: Callable[[], Result] = partial(operands.loss_and_gradient, implementation=provider)
        require_agreement(action(), reference=reference, provider=provider)
        row = partial(measurement, benchmark="mask_contrast", provider=provider, mode="forward + backward", shape=shape, device=device)
        rows.append(row(times_ms(action, device=device, num_runs=num_runs), metric="time", unit="ms"))
        peaks = [peak_extra_mib(action, device=device) for _ in range(num_runs)]
        known = [peak for peak in peaks if peak is not None]
        if known:
            rows.append(row(known, metric="peak extra memory", unit="MiB"))
        else:
            typer.echo("this system does not tell the peak of a process's memory: no such row", err=True)
    return rows


def main(
    batch: Annotated[int, typer.Option(min=1, help="Images.")] = 64,
    dim: Annotated[int, typer.Option(min=1, help="Length of an embedding.")] = 32,
    size_px: Annotated[int, typer.Option(min=1, help="Height and width of an image.")] = 224,
    stride: Annotated[int, typer.Option(min=1, help="Pixels a feature, along each side.")] = 8,
    bank: Annotated[int, typer.Option(min=0, help="Rows of the memory bank, all filled.")] = 128,
    max_objects: Annotated[int, typer.Option(min=1, help="Prototype rows an image.")] = 8,
    objects: Annotated[int, typer.Option(min=1, help="Objects that each image has.")] = 1,
    foreground: Annotated[float, typer.Option(help="Share of each image that its objects cover.")] = 0.3,
    device: Annotated[str, typer.Option(help="cpu or cuda.")] = "cpu",
    num_runs: Annotated[int, typer.Option(min=1, help="Timed calls.")] = 10,
    num_threads: Annotated[int, typer.Option(min=0, help="CPU threads; 0: as torch chooses.")] = 0,
    json: Annotated[Path | None, typer.Option(help="Write the rows to this file.")] = None,
) -> None:
    """Time and peak extra memory of the contrastive loss, forward + backward, float32, by implementation."""
    if num_threads:
        torch.set_num_threads(num_threads)
    chosen = choose_device(device)
    operands = make_operands(
        batch=batch, dim=dim, size_px=size_px, stride=stride, bank=bank, max_objects=max_objects, objects=objects, foreground=foreground, device=chosen
    )
    shape = (
        f"{batch} images of {size_px} px, stride {stride}, {dim} dimensions, {objects} of {max_objects} objects, {100 * foreground:g} % foreground, bank {bank}"
    )
    publish(measure(operands, shape=shape, num_runs=num_runs, device=chosen), json_path=json)


if __name__ == "__main__":
    run(main)
