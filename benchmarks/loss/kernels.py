"""What do the Triton kernels take of a GPU: registers, spills, shared memory, and how full a multiprocessor gets? Needs no GPU.

    python -m benchmarks.loss.kernels --json tests/ops/kernel_resources.json

Compiles each kernel ahead of time for sm_80, sm_90 and sm_100. `tests/ops/kernels/test_kernel_resources.py` compares with the rows that this
command has written: nothing may spill, and nothing may take more than is recorded there without someone writing it anew.
"""

import json
from dataclasses import asdict
from itertools import product
from pathlib import Path
from typing import Annotated

import torch
import triton
import typer

from benchmarks.harness.command import run
from benchmarks.loss.resources import ARCHITECTURES, KernelResources, Point, compile_kernels
from mcdist.run_dir import write_atomically

COLUMNS = ("kernel", "architecture", "D", "stride", "dtype", "by_target", "num_warps", "registers", "spills", "shared_bytes", "occupancy_percent")
SETTINGS = ((32, 8), (64, 8), (128, 8), (32, 4), (32, 14), (128, 16))
"""D and stride: every width at the usual stride, then strides at the usual width, then the stride of a ViT."""


def points() -> list[Point]:
    """Every setting on every architecture, with either way to exclude; the first with bfloat16 features too."""
    both = [Point(architecture, D, stride, by_target=by_target) for architecture, (D, stride), by_target in product(ARCHITECTURES, SETTINGS, (False, True))]
    return both + [Point(architecture, 32, 8, dtype=torch.bfloat16) for architecture in ARCHITECTURES]


def print_row(row: KernelResources) -> None:
    """One line of the table."""
    print("  ".join(f"{getattr(row, name)!s:>{max(len(name), 6)}}" if name != "kernel" else f"{row.kernel:<20}" for name in COLUMNS), flush=True)


def main(
    num_points: Annotated[int, typer.Option("--points", min=0, help="Only the first so many settings; 0: all.")] = 0,
    json_path: Annotated[Path | None, typer.Option("--json", help="Write the rows to this file.")] = None,
) -> None:
    """Registers, spills, shared memory and occupancy of each kernel at each point."""
    print("  ".join(f"{name:<20}" if name == "kernel" else f"{name:>6}" for name in COLUMNS))
    rows: dict[KernelResources, None] = {}
    for point in points()[: num_points or None]:
        for row in compile_kernels(point):
            print_row(row)
            rows[row] = None
    if json_path is not None:
        write_atomically(json_path, json.dumps({"triton": triton.__version__, "rows": [asdict(row) for row in rows]}, indent=1).encode() + b"\n")


QUICK = ("--points", "1")

if __name__ == "__main__":
    run(main, quick=QUICK)
