"""What does a dilated depthwise convolution cost, by shape and in a whole network: interleaved, dilated (oneDNN's own), or the faster of both?

    python -m benchmarks.step.depthwise
    OMP_NUM_THREADS=1 python -m benchmarks.step.depthwise --num-threads 1

The shapes are those of EfficientNet-Lite0 at stride 8 (mcdist/model/backbones/dilation.py). `network` is that backbone: its forward pass as for keys and in
an evaluation, and forward with backward as where all of it trains. Ways take turns call by call. CPU time is that of the process, over all threads.
"""

import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Annotated
from unittest.mock import patch

import torch
import typer
from torch import Tensor, nn

from benchmarks.harness.command import run
from benchmarks.harness.measurement import Measurement, measurement, publish
from mcdist.errors import McdistError
from mcdist.model.backbones import dilation as dilation_module
from mcdist.model.backbones.dilation import InterleavedConv2d
from mcdist.model.backbones.fastest import other_is_faster
from mcdist.model.backbones.registry import make_backbone

SHAPES = ((480, 5, 2), (672, 5, 2), (1152, 5, 4), (1152, 3, 4))
"""Channels, kernel, dilation."""
WAYS: dict[str, Callable[..., bool]] = {
    "interleaved": lambda shape, **ways: False,
    "dilated": lambda shape, **ways: True,
    "the faster": other_is_faster,
}
ERROR_MAX = 1e-4


def passes(module: nn.Module, image: Tensor) -> dict[str, Callable[[], Tensor]]:
    """The module's forward pass, and with its backward pass."""

    def forward() -> Tensor:
        with torch.inference_mode():
            return module(image)

    def both() -> Tensor:
        result: Tensor = module(image)
        result.sum().backward()
        module.zero_grad(set_to_none=True)
        return result.detach()

    return {"forward": forward, "forward + backward": both}


def measure(module: nn.Module, image: Tensor, *, shape: str, num_runs: int) -> list[Measurement]:
    """Time and CPU time of each way, refused where it differs from the first."""
    rows = []
    for mode, action in passes(module, image).items():
        wall_ms: dict[str, list[float]] = {name: [] for name in WAYS}
        cpu_ms: dict[str, list[float]] = {name: [] for name in WAYS}
        truth: Tensor | None = None
        for turn in range(num_runs + 1):
            for name, way in WAYS.items():
                with patch.object(dilation_module, "other_is_faster", way):
                    began_s, began_cpu_s = time.perf_counter(), time.process_time()
                    result = action()
                    if turn:  # the first prepares, and measures
                        wall_ms[name].append(1000 * (time.perf_counter() - began_s))
                        cpu_ms[name].append(1000 * (time.process_time() - began_cpu_s))
                truth = result if truth is None else truth
                error = float((result - truth).norm() / truth.norm())
                if not error <= ERROR_MAX:
                    raise McdistError(f"{name} differs by {error:.1e} at {shape}, {ERROR_MAX:g} is allowed; not timed: mend it first")
        row = partial(measurement, benchmark="depthwise", mode=mode, shape=shape, unit="ms", device=torch.device("cpu"))
        rows += [row(values, provider=name, metric="time") for name, values in wall_ms.items()]
        rows += [row(values, provider=name, metric="CPU time") for name, values in cpu_ms.items()]
    return rows


def main(
    photos: Annotated[int, typer.Option(min=1, help="Photos a pass.")] = 16,
    size_px: Annotated[int, typer.Option(min=32, help="Their side, a multiple of 32.")] = 160,
    shapes: Annotated[int, typer.Option(min=0, max=len(SHAPES), help="Only the first so many shapes.")] = len(SHAPES),
    network: Annotated[bool, typer.Option(help="Measure the whole network too.")] = True,
    num_runs: Annotated[int, typer.Option(min=1, help="Turns of every way.")] = 5,
    num_threads: Annotated[int, typer.Option(min=0, help="CPU threads; 0: as torch chooses.")] = 0,
    json: Annotated[Path | None, typer.Option(help="Write the rows to this file.")] = None,
) -> None:
    """Time of dilated depthwise convolutions."""
    if num_threads:
        torch.set_num_threads(num_threads)
    rows, side = [], size_px // 8
    for channels, kernel, dilation in SHAPES[:shapes]:
        made = InterleavedConv2d(channels, channels, kernel, padding=dilation * (kernel - 1) // 2, dilation=dilation, groups=channels, bias=False)
        features = torch.randn(photos, channels, side, side, generator=torch.Generator().manual_seed(0))
        shape = f"{photos} maps of {channels} x {side} x {side}, kernel {kernel}, dilation {dilation}"
        channels_last = torch.channels_last
        rows += measure(made.to(memory_format=channels_last), features.contiguous(memory_format=channels_last), shape=shape, num_runs=num_runs)
    if network:
        backbone = make_backbone("efficientnet_lite0", weights="none").eval().to(memory_format=torch.channels_last)
        images = torch.randn(photos, 3, size_px, size_px, generator=torch.Generator().manual_seed(0)).contiguous(memory_format=torch.channels_last)
        rows += measure(backbone, images, shape=f"network: efficientnet_lite0, {photos} photos of {size_px} px", num_runs=num_runs)
    publish(rows, json_path=json)


QUICK = ("--photos", "2", "--size-px", "96", "--shapes", "2", "--no-network", "--num-runs", "2", "--num-threads", "1")

if __name__ == "__main__":
    run(main, quick=QUICK)
