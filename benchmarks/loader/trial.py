"""One provider of pipeline.py, checked or measured in this process; prints one line of JSON. pipeline.py starts it, once a figure."""

import json
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Annotated, Any

import typer

from benchmarks.harness.command import run
from benchmarks.harness.measurement import status_kib
from benchmarks.loader.providers import PROVIDERS
from benchmarks.loader.source import Seen, Source
from mcdist.errors import DataError

ALIGNMENT_ERROR_MAX = 0.03
"""Share of a view's pixels whose brightness and map may disagree: borders, where resizing mixes both."""
STRETCHES = 3


def check(name: str, source: Source, *, batch: int, size_px: int) -> dict[str, Any]:
    """Raises DataError where the shapes are not those of two views, the views are equal, or the map does not lie on its photo.

    `source` holds photos that are bright where an object is and dark elsewhere.
    """
    seen = next(PROVIDERS[name].open(source, batch, size_px, 0))
    wrong = _wrong_shapes(seen, batch=batch, size_px=size_px) or _wrong_maps(seen)
    if wrong:
        raise DataError(f"{name} gives {wrong}: not timed")
    return {"checked": name}


def _wrong_shapes(seen: Seen, *, batch: int, size_px: int) -> str | None:
    for images in seen.images or ():
        if tuple(images.shape) != (batch, 3, size_px, size_px):
            return f"images of {tuple(images.shape)}"
    for instances in seen.instances or ():
        if tuple(instances.shape) != (batch, size_px, size_px):
            return f"maps of {tuple(instances.shape)}"
    if seen.images and (seen.images[0].float() - seen.images[1].float()).abs().mean() == 0:
        return "the same view twice"
    return None


def _wrong_maps(seen: Seen) -> str | None:
    for images, instances in zip(seen.images or (), seen.instances or (), strict=False):
        for image, mapped in zip(images.float().mean(1), instances > 0, strict=True):
            if not 0.01 < mapped.float().mean() < 0.99:
                continue
            middle = (image[mapped].mean() + image[~mapped].mean()) / 2
            error = float(((image > middle) != mapped).float().mean())
            if error > ALIGNMENT_ERROR_MAX:
                return f"a map that misses its photo in {100 * error:.0f} % of the pixels"
    return None


def measure(name: str, source: Source, *, batch: int, size_px: int, num_workers: int, stretch_s: float, began_s: float) -> dict[str, Any]:
    """Photos a second of each stretch; seconds to the first batch, from the start of this process and again in it; peak of resident memory.

    Without workers the seconds are those that the core worked for this process: what else runs on the machine does not count.
    """
    provider = PROVIDERS[name]
    batches = provider.open(source, batch, size_px, num_workers)
    next(batches)
    cold_s = time.monotonic() - began_s
    for _ in range(4 * num_workers):
        next(batches)
    clock = time.perf_counter if num_workers else time.process_time
    rates = [_rate(batches, stretch_s=stretch_s, clock=clock) for _ in range(STRETCHES)]
    batches.close()  # type: ignore[attr-defined]
    began_again_s = time.monotonic()
    batches = provider.open(source, batch, size_px, num_workers)
    next(batches)
    warm_s = time.monotonic() - began_again_s
    batches.close()  # type: ignore[attr-defined]
    return {"rates": rates, "cold_s": cold_s, "warm_s": warm_s, "peak_mib": status_kib("VmHWM") / 1024}


def _rate(batches: Iterator[Seen], *, stretch_s: float, clock: Callable[[], float]) -> float:
    num_photos, began_s = 0, clock()
    while (taken_s := clock() - began_s) < stretch_s:
        num_photos += next(batches).num_photos
    return num_photos / taken_s


def main(
    name: Annotated[str, typer.Argument()],
    folder: Annotated[Path, typer.Argument()],
    batch: Annotated[int, typer.Option()] = 16,
    size_px: Annotated[int, typer.Option()] = 224,
    workers: Annotated[int, typer.Option()] = 0,
    stretch_s: Annotated[float, typer.Option()] = 1.0,
    began_s: Annotated[float, typer.Option(help="time.monotonic() when this process was asked for.")] = 0.0,
    check_only: Annotated[bool, typer.Option("--check")] = False,
) -> None:
    """Without workers everything runs on one core."""
    if not workers:
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    import torch

    torch.set_num_threads(1)
    if check_only:
        found = check(name, Source(folder), batch=batch, size_px=size_px)
    else:
        found = measure(name, Source(folder), batch=batch, size_px=size_px, num_workers=workers, stretch_s=stretch_s, began_s=began_s)
    print(json.dumps(found), flush=True)


if __name__ == "__main__":
    run(main)
    os._exit(0)  # FFCV's threads may outlive their loader
