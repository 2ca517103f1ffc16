"""What do the ways to pool objects' pixels cost, forward and backward, in time and in extra memory, and how exact are they?

    python -m benchmarks.loss.pool --json mask_pool.json

`plain` is pooling as one writes it in torch: upsample, normalise, add up by object. The truth is the reference in float64; a way that is far
from it is refused, not timed.
"""

from functools import partial
from itertools import product
from pathlib import Path
from typing import Annotated, Literal, get_args

import torch
import torch.nn.functional as F
import typer

from benchmarks.harness.command import run
from benchmarks.harness.comparison import Results, Way, compare
from benchmarks.harness.measurement import Measurement, choose_device, publish
from benchmarks.loss.operands import Operands, make_operands
from mcdist.ops import mask_pool

PoolWay = Literal["plain", "reference", "compact", "fused"]
BOUNDS = (1e-5, 1e-4)
"""Largest error of the prototypes and of the features' gradient."""


def plain_prototypes(features: torch.Tensor, instances: torch.Tensor, *, max_objects: int) -> torch.Tensor:
    """Every pixel's embedding, added up by object."""
    pixels = F.normalize(F.interpolate(features, size=instances.shape[1:], mode="bilinear", align_corners=False), dim=1)
    pixels = pixels.permute(0, 2, 3, 1).reshape(-1, features.shape[1])
    first = torch.arange(len(instances), device=instances.device)[:, None, None] * max_objects
    row = (instances.long() - 1 + first)[instances >= 1]
    sums = pixels.new_zeros(len(instances) * max_objects, features.shape[1])
    return F.normalize(sums.index_add(0, row, pixels[(instances >= 1).flatten()]), dim=1)


def prototypes_and_gradient(operands: Operands, way: PoolWay, *, max_objects: int) -> Results:
    """One forward, and one backward of the first component's sum."""
    if way == "plain":
        prototypes = plain_prototypes(operands.features, operands.instances, max_objects=max_objects)
    else:
        prototypes = mask_pool(operands.features, operands.instances, max_objects=max_objects, implementation=way).prototypes
    return prototypes.detach(), *torch.autograd.grad(prototypes[:, 0].sum(), operands.features)


def main(
    batch: Annotated[list[int] | None, typer.Option(min=1, help="Images; repeat for more tables. Default: 16.")] = None,
    dim: Annotated[list[int] | None, typer.Option(min=1, help="Length of an embedding; repeat. Default: 32.")] = None,
    size_px: Annotated[int, typer.Option(min=1, help="Height and width of an image.")] = 224,
    stride: Annotated[int, typer.Option(min=1, help="Pixels a feature, along each side.")] = 8,
    max_objects: Annotated[int, typer.Option(min=1, help="Rows an image.")] = 8,
    objects: Annotated[int, typer.Option(min=1, help="Objects that each image has.")] = 3,
    foreground: Annotated[float, typer.Option(help="Share of each image that its objects cover.")] = 0.38,
    device: Annotated[str, typer.Option(help="cpu or cuda.")] = "cpu",
    num_runs: Annotated[int, typer.Option(min=2, help="Timed calls at most.")] = 10,
    num_threads: Annotated[int, typer.Option(min=0, help="CPU threads; 0: as torch chooses.")] = 0,
    json: Annotated[Path | None, typer.Option(help="Write the rows to this file.")] = None,
) -> None:
    """Time, peak extra memory and error of mask pooling, forward + backward, by the way it is computed."""
    if num_threads:
        torch.set_num_threads(num_threads)
    chosen = choose_device(device)
    rows: list[Measurement] = []
    for D, B in product(dim or [32], batch or [16]):
        operands = make_operands(
            batch=B, dim=D, size_px=size_px, stride=stride, bank=0, max_objects=max_objects, objects=objects, foreground=foreground, device=chosen
        )
        once = partial(prototypes_and_gradient, max_objects=max_objects)
        truth = once(operands.first_images(B, dtype=torch.float64), "reference")
        ways = [Way(name=way, run=partial(once, operands, way), check=partial(once, operands, way)) for way in get_args(PoolWay)]
        shape = f"{B} images of {size_px} px, stride {stride}, D = {D}, {objects} of {max_objects} objects, {100 * foreground:g} % foreground"
        names = ("prototypes", "gradient")
        rows += compare(ways, truth=truth, names=names, bounds=BOUNDS, benchmark="mask_pool", shape=shape, num_runs=num_runs, device=chosen)
    publish(rows, json_path=json)


QUICK = ("--batch", "4", "--num-runs", "2")

if __name__ == "__main__":
    run(main, quick=QUICK)
