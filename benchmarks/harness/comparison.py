"""Compare ways to compute an operator: check each against the float64 truth, then time it and take its memory, and never time what is wrong.

A way that would not fit into memory is left out and said so.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
import typer
from torch import Tensor

from benchmarks.harness.measurement import Measurement, measurement, peak_extra_mib, times_ms
from mcdist.errors import McdistError

BUDGET_S = 45.0
"""A slow way is called fewer times than asked for: as often as fits, at least twice."""

Results = tuple[Tensor, ...]


@dataclass(frozen=True, slots=True)
class Way:
    """`run` is one forward and backward at full size; `check` the same on what the truth was computed for. `needs_bytes`: an estimate, 0 where it is small."""

    name: str
    run: Callable[[], Results]
    check: Callable[[], Results]
    needs_bytes: float = 0.0


def compare(
    ways: Sequence[Way], *, truth: Results, names: Sequence[str], bounds: Sequence[float], benchmark: str, shape: str, num_runs: int, device: torch.device
) -> list[Measurement]:
    """For each way: how far it is from the truth (|difference| / |truth|, by result), its time and its peak extra memory."""
    rows: list[Measurement] = []
    for way in ways:
        left_bytes = free_bytes(device)
        if way.needs_bytes > left_bytes:
            typer.echo(f"{way.name} left out at {shape}: it needs about {way.needs_bytes / 2**30:,.0f} GiB, {left_bytes / 2**30:,.0f} are free", err=True)
            continue
        row = partial(measurement, benchmark=benchmark, provider=way.name, mode="forward + backward", shape=shape, device=device)
        rows += _checked(way, truth=truth, names=names, bounds=bounds, row=row)
        rows += _timed(way, row=row, num_runs=num_runs, device=device)
    return rows


def _checked(way: Way, *, truth: Results, names: Sequence[str], bounds: Sequence[float], row: Callable[..., Measurement]) -> list[Measurement]:
    rows = []
    for name, bound, got, want in zip(names, bounds, way.check(), truth, strict=True):
        difference = float((got.double() - want).norm() / want.norm())
        if not difference <= bound:
            raise McdistError(f"{way.name}'s {name} is {difference:.1e} away from the truth, {bound:g} is allowed; not timed: mend it first (tests/ops)")
        rows.append(row([difference], metric=f"{name} error", unit="relative"))
    return rows


def _timed(way: Way, *, row: Callable[..., Measurement], num_runs: int, device: torch.device) -> list[Measurement]:
    (first_ms,) = times_ms(way.run, device=device, num_runs=1, num_warmups=1)
    fitting = max(2, min(num_runs, int(BUDGET_S * 1000 / max(first_ms, 1e-3))))
    rows = [row(times_ms(way.run, device=device, num_runs=fitting, num_warmups=0), metric="time", unit="ms")]
    peaks = [peak_extra_mib(way.run, device=device) for _ in range(min(fitting, 3))]
    known = [peak for peak in peaks if peak is not None]
    if known:
        rows.append(row(known, metric="peak extra memory", unit="MiB"))
    else:
        typer.echo("this system does not tell the peak of a process's memory: no such row", err=True)
    return rows


def free_bytes(device: torch.device) -> float:
    """Memory that can still be taken; infinite where the system does not tell."""
    if device.type == "cuda":
        return float(torch.cuda.mem_get_info(device)[0])
    try:
        lines: dict[str, Any] = dict(line.split(":", 1) for line in Path("/proc/meminfo").read_text().splitlines())
        return float(lines["MemAvailable"].split()[0]) * 1024
    except (OSError, KeyError):
        return float("inf")
