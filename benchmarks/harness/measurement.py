"""A measurement: one row that says what was measured, on which machine, with which versions, at which commit; printed as plain text, kept as JSON."""

import ctypes
import json
import os
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy
import torch

from benchmarks.harness.progress import say
from mcdist.errors import ConfigError
from mcdist.machine.allocator import find_allocator
from mcdist.machine.environment import describe_environment
from mcdist.ops import native
from mcdist.run_dir import write_atomically

ROOT = Path(__file__).resolve().parents[2]
"""The clone: processes that a benchmark starts run from there."""
COLUMNS = ("provider", "mode", "metric", "unit", "median", "p20", "p80", "num_runs")
"""What the printed table shows; the other fields are the same in all its rows, or its headings."""


LINE_EVERY_S = 10.0
"""A long series of timed calls says this often how far it is."""


@dataclass(frozen=True, slots=True)
class Measurement:
    """`num_runs` values of `metric`, in `unit`, of `provider` doing `mode` at `shape`: their median and 20th and 80th percentile.

    `instruction_set`: of torch and of mcdist's C++ operators. `load`: of the machine, over the minute before the row was made.
    """

    benchmark: str
    provider: str
    mode: str
    shape: str
    metric: str
    unit: str
    median: float
    p20: float
    p80: float
    num_runs: int
    machine: str
    instruction_set: str
    allocator: str
    load: float | None
    versions: dict[str, str]
    commit: str
    date: str


def measurement(values: Sequence[float], *, benchmark: str, provider: str, mode: str, shape: str, metric: str, unit: str, device: torch.device) -> Measurement:
    """`values` as a row, with machine, load, versions, commit and date filled in. It is printed to the error stream at once, so that a reader need not wait."""
    p20, median, p80 = (float(value) for value in numpy.percentile(values, (20, 50, 80)))
    say(f"{benchmark}: {provider}, {mode}, {metric} {median:.4g} {unit}".rstrip())
    return Measurement(
        benchmark=benchmark,
        provider=provider,
        mode=mode,
        shape=shape,
        metric=metric,
        unit=unit,
        median=median,
        p20=p20,
        p80=p80,
        num_runs=len(values),
        load=load_average(),
        **circumstances(device, num_threads=torch.get_num_threads()),
    )


@cache
def circumstances(device: torch.device, *, num_threads: int) -> dict[str, Any]:
    """What is the same in all rows of a process: machine, instruction set, allocator, versions, commit, date."""
    facts = describe_environment(device=device.type, num_ranks=1, precision="fp32")
    machine = f"{facts['host_cpu']}, {facts['num_cores']} cores, {num_threads} threads"
    if device.type == "cuda":
        machine = f"{torch.cuda.get_device_name(device)}; {machine}"
    return {
        "machine": machine,
        "instruction_set": instruction_set(),
        "allocator": allocator(),
        "versions": facts["versions"],
        "commit": facts.get("commit", "unknown"),
        "date": time.strftime("%Y-%m-%d"),
    }


def instruction_set() -> str:
    """What torch's own kernels use, and the vectors of mcdist's C++ operators, which are built where they are not there yet."""
    reason = native.reason_missing()
    return f"torch {torch.backends.cpu.get_cpu_capability()}, operators {f'{native.vector_bytes()} bytes' if not reason else 'not compiled'}"


def allocator() -> str:
    """Whose malloc this process calls, and whether it keeps freed memory."""
    found = find_allocator(os.environ)
    return f"{found.name}, {'freed memory is kept' if found.keeps else found.detail}"


def load_average() -> float | None:
    """Processes that ran or waited for a core, averaged over the last minute. None where the system does not say."""
    try:
        return round(os.getloadavg()[0], 2)
    except (AttributeError, OSError):
        return None


def choose_device(name: str) -> torch.device:
    """`cpu` or `cuda`; ConfigError for another name, or cuda where there is none."""
    if name not in ("cpu", "cuda") or (name == "cuda" and not torch.cuda.is_available()):
        raise ConfigError(f"--device wants cpu, or cuda where torch finds one, got {name!r}; see: mcdist doctor")
    return torch.device(name)


def wait_for(device: torch.device) -> None:
    """Return when the device has done all it was given."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def times_ms(action: Callable[[], object], *, device: torch.device, num_runs: int, num_warmups: int = 2) -> list[float]:
    """How long each of `num_runs` calls took, from an idle device to an idle device, after `num_warmups` calls that do not count."""
    for _ in range(num_warmups):
        action()
    taken = []
    said_s = time.perf_counter()
    for number in range(num_runs):
        wait_for(device)
        began_s = time.perf_counter()
        action()
        wait_for(device)
        ended_s = time.perf_counter()
        taken.append(1000 * (ended_s - began_s))
        if ended_s - said_s > LINE_EVERY_S:
            said_s = ended_s
            say(f"call {number + 1} of {num_runs}: {taken[-1]:,.0f} ms")
    return taken


def peak_extra_mib(action: Callable[[], object], *, device: torch.device) -> float | None:
    """The most memory that one call holds beyond what was held before it. None where the system does not tell.

    CUDA: torch's own count of allocated bytes. CPU: the peak of the process's resident pages, which Linux counts anew on request;
    free pages are given back first, else the call would find its memory already there. Call `action` once before: code and threads count too.
    """
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
        before = torch.cuda.memory_allocated(device)
        action()
        wait_for(device)
        return (torch.cuda.max_memory_allocated(device) - before) / 2**20
    try:
        ctypes.CDLL(None).malloc_trim(0)
        Path("/proc/self/clear_refs").write_text("5")
        before_kib = status_kib("VmRSS")
        action()
        return max(0, status_kib("VmHWM") - before_kib) / 1024
    except (OSError, AttributeError):
        return None


SAMPLE_S = 0.002
"""Between two looks at a process's own memory."""


def peak_anonymous_mib(action: Callable[[], object]) -> float:
    """The most memory of its own (RssAnon) that a call holds beyond what was held before it: pages of mapped files, which the system takes back as it likes,
    count nowhere. Sampled every SAMPLE_S from a thread: a peak shorter than that may be missed. Call `action` once before: code and threads count too.

    Raises:
        OSError: the system is not Linux.
    """
    ctypes.CDLL(None).malloc_trim(0)
    before_kib = status_kib("RssAnon")
    most_kib, over = [before_kib], threading.Event()

    def watch() -> None:
        while not over.wait(SAMPLE_S):
            most_kib[0] = max(most_kib[0], status_kib("RssAnon"))

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    try:
        action()
    finally:
        over.set()
        watcher.join()
    return (most_kib[0] - before_kib) / 1024


def peak_process_mib(device: torch.device) -> float | None:
    """The most memory that this process held since it started, or the device for it on CUDA. None where the system does not tell."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 2**20
    try:
        return status_kib("VmHWM") / 1024
    except OSError:
        return None


def status_kib(name: str) -> int:
    """A line of this process's memory, as Linux tells it: VmRSS is resident now, VmHWM was at most."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(f"{name}:"))


def publish(rows: Sequence[Measurement], *, json_path: Path | None) -> None:
    """Print the rows as aligned text, a table a shape, and write all fields of all rows to `json_path` where one is given."""
    for shape in dict.fromkeys(row.shape for row in rows):
        _print_table([row for row in rows if row.shape == shape])
    if rows:
        loads = [row.load for row in rows if row.load is not None]
        print(f"{rows[0].instruction_set}; {rows[0].allocator}; load {f'{min(loads):.1f} to {max(loads):.1f}' if loads else 'unknown'}")
        print(f"{rows[0].machine}; torch {rows[0].versions.get('torch', '?')}; commit {rows[0].commit}; {rows[0].date}")
    if json_path is not None:
        write_atomically(json_path, json.dumps([asdict(row) for row in rows], indent=1).encode() + b"\n")


def _print_table(rows: Sequence[Measurement]) -> None:
    cells = [COLUMNS, *(tuple(_cell(getattr(row, name)) for name in COLUMNS) for row in rows)]
    widths = [max(len(line[column]) for line in cells) for column in range(len(COLUMNS))]
    numeric = COLUMNS.index("median")
    print(f"{rows[0].benchmark}: {rows[0].shape}")
    for line in cells:
        padded = (cell.rjust(width) if column >= numeric else cell.ljust(width) for column, (cell, width) in enumerate(zip(line, widths, strict=True)))
        print("  " + "  ".join(padded).rstrip())
    print()


def _cell(value: str | int | float) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
