"""What do the ways to compute the contrastive loss cost, forward and backward, in time and in extra memory, and how exact are they?

    python -m benchmarks.loss.contrast --json mask_contrast.json
    python -m benchmarks.loss.contrast --batch 8 --bank 8192 --bank 65536 --check-images 1
    python -m benchmarks.loss.contrast --device cuda --dtype bf16 --batch 16 --batch 64 --bank 256 --bank 65536 --check-images 1

Every combination of --batch, --bank and --dim is one table. `plain` is the loss as one writes it in torch, with all pixels and all logits; the
others are what `ops.implementation` may be. The truth is the reference in float64; a way that is far from it is refused, not timed.
"""

from functools import partial
from itertools import product
from pathlib import Path
from typing import Annotated

import torch
import typer

from benchmarks.harness.command import run
from benchmarks.harness.comparison import Way, compare
from benchmarks.harness.measurement import Measurement, choose_device, publish
from benchmarks.loss.operands import Operands, Result, make_operands

WAYS = ("plain", "reference", "reference compiled", "compact", "compact compiled", "fused")
BOUNDS = {torch.float32: (1e-5, 1e-4), torch.bfloat16: (2e-2, 5e-2), torch.float16: (5e-3, 2e-2)}
"""Largest error of loss and gradient by the precision of the features."""

DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
PLAIN_COPIES = 3
"""Tensors as large as the logits that exist at once in the plain way: logits, their logarithm of the softmax, the gradient."""


def loss_and_gradient(operands: Operands, way: str) -> Result:
    """One forward and backward."""
    compiled = way.endswith(" compiled")
    loss = COMPILED(operands, way.removesuffix(" compiled")) if compiled else _loss(operands, way)
    (gradient,) = torch.autograd.grad(loss, operands.features)
    return loss.detach(), gradient


def _loss(operands: Operands, implementation: str) -> torch.Tensor:
    return operands.loss(operands.features, implementation=implementation)


COMPILED = torch.compile(_loss, dynamic=False)


def measure(operands: Operands, *, ways: list[str], shape: str, num_runs: int, num_checked: int, device: torch.device) -> list[Measurement]:
    """The rows of one shape."""
    checked = operands.first_images(num_checked, dtype=operands.features.dtype)
    truth = loss_and_gradient(operands.first_images(num_checked, dtype=torch.float64), "reference")
    logits_bytes = operands.num_foreground * operands.num_candidates * 4.0
    made = [
        Way(
            name=way,
            run=partial(loss_and_gradient, operands, way),
            check=partial(loss_and_gradient, checked, way),
            needs_bytes=PLAIN_COPIES * logits_bytes if way == "plain" else 0.0,
        )
        for way in ways
    ]
    bounds = BOUNDS[operands.features.dtype]
    return compare(made, truth=truth, names=("loss", "gradient"), bounds=bounds, benchmark="mask_contrast", shape=shape, num_runs=num_runs, device=device)


def main(
    way: Annotated[list[str] | None, typer.Option(help=f"One of {', '.join(WAYS)}; repeat. Default: those without 'compiled'.")] = None,
    batch: Annotated[list[int] | None, typer.Option(min=1, help="Images; repeat for more tables. Default: 16.")] = None,
    bank: Annotated[list[int] | None, typer.Option(min=0, help="Rows of the memory bank, all filled; repeat. Default: 256.")] = None,
    dim: Annotated[list[int] | None, typer.Option(min=1, help="Length of an embedding; repeat. Default: 32.")] = None,
    size_px: Annotated[int, typer.Option(min=1, help="Height and width of an image.")] = 224,
    stride: Annotated[int, typer.Option(min=1, help="Pixels a feature, along each side.")] = 8,
    max_objects: Annotated[int, typer.Option(min=1, help="Prototype rows an image.")] = 1,
    objects: Annotated[int, typer.Option(min=1, help="Objects that each image has.")] = 1,
    foreground: Annotated[float, typer.Option(help="Share of each image that its objects cover.")] = 0.38,
    dtype: Annotated[str, typer.Option(help="Of the features: fp32, bf16 or fp16.")] = "fp32",
    device: Annotated[str, typer.Option(help="cpu or cuda.")] = "cpu",
    check_images: Annotated[int, typer.Option(min=0, help="Images that the check is made on; 0: all.")] = 0,
    num_runs: Annotated[int, typer.Option(min=2, help="Timed calls at most.")] = 10,
    num_threads: Annotated[int, typer.Option(min=0, help="CPU threads; 0: as torch chooses.")] = 0,
    json: Annotated[Path | None, typer.Option(help="Write the rows to this file.")] = None,
) -> None:
    """Time, peak extra memory and error of the contrastive loss, forward + backward, by the way it is computed."""
    ways = way or [name for name in WAYS if "compiled" not in name]
    if unknown := sorted({*ways} - {*WAYS}):
        raise typer.BadParameter(f"--way wants one of {', '.join(WAYS)}, got {', '.join(unknown)}")
    if dtype not in DTYPES:
        raise typer.BadParameter(f"--dtype wants one of {', '.join(DTYPES)}, got {dtype}")
    if num_threads:
        torch.set_num_threads(num_threads)
    chosen = choose_device(device)
    rows: list[Measurement] = []
    for D, K, B in product(dim or [32], bank or [256], batch or [16]):
        operands = make_operands(
            batch=B,
            dim=D,
            size_px=size_px,
            stride=stride,
            bank=K,
            max_objects=max_objects,
            objects=objects,
            foreground=foreground,
            device=chosen,
            dtype=DTYPES[dtype],
        )
        shape = (
            f"{B} images of {size_px} px, stride {stride}, D = {D}, {objects} of {max_objects} objects, {100 * foreground:g} % foreground, K = {K:,}, {dtype}"
        )
        rows += measure(operands, ways=ways, shape=shape, num_runs=num_runs, num_checked=min(check_images or B, B), device=chosen)
    publish(rows, json_path=json)


QUICK = ("--batch", "8", "--size-px", "112", "--check-images", "1", "--num-runs", "2")

if __name__ == "__main__":
    run(main, quick=QUICK)
