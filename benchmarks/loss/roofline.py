"""How fast could the contrastive loss be, on this CPU and on GPUs, and how near is the CPU's fused implementation?

    python -m benchmarks.loss.roofline --json roofline.json

Counts what the formulas of docs/performance.md need and divides by what a machine can do: on a CPU the multiply-adds a second that this machine
shows in a loop of nothing else; on a GPU the numbers of its data sheet. Then times the fused loss here, at the same shapes. A GPU's row is a
floor, not a measurement.
"""

import ctypes
import tempfile
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated

import torch
import typer

from benchmarks.harness.command import run
from benchmarks.harness.measurement import Measurement, measurement, publish, times_ms
from benchmarks.loss.contrast import loss_and_gradient
from benchmarks.loss.operands import make_operands
from mcdist.ops.native import build_library

SHAPES = ((16, 32, 256), (16, 32, 1024), (64, 32, 256), (8, 32, 8192), (64, 32, 65536), (64, 128, 65536))
"""(images, D, K) of the table."""

TIMED = 3
"""Only the first so many are timed here; the floors need no machine."""

CPU_OPERATIONS = 4 + 11 + 4 + 4
"""Vector instructions a pixel and candidate: logit, exponential, its three sums and store, gradient. Loads are free beside them."""

GPU_MULTIPLY_ADDS = 2 * (4 + 4) + 4
"""The same on a GPU without the exponential's, which has units of its own: logit and sums in either kernel, gradient in the second."""


@dataclass(frozen=True, slots=True)
class Gpu:
    """What a GPU does a second, by its data sheet: multiprocessors, clock, float32 multiply-adds and exponentials a clock and multiprocessor."""

    name: str
    num_multiprocessors: int
    clock_ghz: float
    multiply_adds: int
    exponentials: int = 16

    def floor_ms(self, *, pairs: float, products: float) -> float:
        """The slowest of its units; products of low-resolution features in float32, without tensor cores."""
        a_second = self.num_multiprocessors * self.clock_ghz * 1e9
        return 1000 * max((GPU_MULTIPLY_ADDS * pairs + products) / (a_second * self.multiply_adds), 2 * pairs / (a_second * self.exponentials))


GPUS = (Gpu("H100 SXM", 132, 1.83, 128), Gpu("A100 SXM", 108, 1.41, 64))


@dataclass(frozen=True, slots=True)
class Work:
    """What one forward and backward needs: `pairs` of pixel and candidate, and multiply-adds of `products` S = F C' and dF = dS C."""

    pairs: float
    products: float


def work_of(*, batch: int, dim: int, bank: int, size_px: int, stride: int, foreground: float) -> Work:
    """Of an object an image, with everything that no foreground touches left out."""
    candidates = batch + bank
    features = batch * (size_px // stride) ** 2
    return Work(pairs=foreground * batch * size_px**2 * candidates, products=2.0 * foreground * features * dim * candidates)


def peak_multiply_adds_per_s(*, num_threads: int) -> float:
    """The most that this machine's cores did, of three tries."""
    with tempfile.TemporaryDirectory() as folder:
        library = ctypes.CDLL(str(build_library([Path(__file__).with_name("peak.cpp")], path=Path(folder) / "peak.so")))
        library.multiply_adds_per_s.restype = ctypes.c_double
        return max(library.multiply_adds_per_s(ctypes.c_int64(30_000_000), ctypes.c_int(num_threads)) for _ in range(3))


def main(
    num_runs: Annotated[int, typer.Option(min=2, help="Timed calls a shape.")] = 10,
    num_threads: Annotated[int, typer.Option(min=0, help="CPU threads; 0: as torch chooses.")] = 0,
    json: Annotated[Path | None, typer.Option(help="Write the rows to this file.")] = None,
) -> None:
    """Floors of the contrastive loss, forward + backward, and how near the CPU comes."""
    if num_threads:
        torch.set_num_threads(num_threads)
    cpu = torch.device("cpu")
    peak = peak_multiply_adds_per_s(num_threads=torch.get_num_threads())
    rows: list[Measurement] = []
    for place, (batch, dim, bank) in enumerate(SHAPES):
        setting = {"batch": batch, "dim": dim, "bank": bank, "size_px": 224, "stride": 8, "foreground": 0.38}
        work = work_of(**setting)  # type: ignore[arg-type]
        shape = f"{batch} images of 224 px, stride 8, D = {dim}, 38 % foreground, K = {bank:,}: {work.pairs:.2g} pairs"
        row = partial(measurement, benchmark="roofline", mode="forward + backward", shape=shape, device=cpu)
        floor_ms = 1000 * (CPU_OPERATIONS * work.pairs + work.products) / peak
        rows.append(row([floor_ms], provider=f"this CPU at {peak / 1e9:,.0f} G multiply-adds/s", metric="floor", unit="ms"))
        rows += [row([gpu.floor_ms(pairs=work.pairs, products=work.products)], provider=gpu.name, metric="floor", unit="ms") for gpu in GPUS]
        if place < TIMED:
            operands = make_operands(**setting, max_objects=1, objects=1, device=cpu)  # type: ignore[arg-type]
            taken_ms = times_ms(partial(loss_and_gradient, operands, "fused"), device=cpu, num_runs=num_runs)
            rows.append(row(taken_ms, provider="fused, on this CPU", metric="time", unit="ms"))
            rows.append(row([100 * floor_ms / sorted(taken_ms)[len(taken_ms) // 2]], provider="fused, on this CPU", metric="share of the floor", unit="%"))
    publish(rows, json_path=json)


QUICK = ("--num-runs", "2")

if __name__ == "__main__":
    run(main, quick=QUICK)
