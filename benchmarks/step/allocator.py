"""What does malloc cost: glibc as it starts, glibc that keeps freed memory (what mcdist sets), and any allocator that can be preloaded?

    python -m benchmarks.step.allocator
    python -m benchmarks.step.allocator --quick
    python -m benchmarks.step.allocator --huge-pages --preload /usr/lib/x86_64-linux-gnu/libjemalloc.so.2

Each measurement is a process of its own (benchmarks/step/allocator_trial.py). A round measures every allocator once, one after another, so that what
else the machine does meets all of them; `against system` is the median of the rounds' ratios. The peak is the whole process's, from its start.
On a busy machine use `--num-threads 1` and read the CPU time: threads that wait for each other spin.
"""

import json
import os
import statistics
import subprocess
import sys
from collections import defaultdict
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import torch
import typer

from benchmarks.harness.measurement import ROOT, Measurement, measurement, publish, run
from mcdist.errors import ConfigError, McdistError
from mcdist.machine.allocator import VARIABLE
from mcdist.machine.environment import num_cores

SYSTEM, KEEP = "system", "auto"
HUGE_PAGES = {"GLIBC_TUNABLES": "glibc.malloc.hugetlb=1"}
WORKS = (("forward", 16, 160, 4), ("forward", 8, 256, 4), ("training", 16, 160, 3))
"""Work, photos, their side in px, passes a process."""
QUICK = (("forward", 4, 160, 2),)
METRICS = (("time", "ms"), ("CPU time", "ms"), ("system time", "ms"), ("page faults", "1/pass"))
TIMEOUT_S = 300

Work = tuple[str, int, int, int]
Trial = dict[str, Any]


def ways(*, huge_pages: bool, preload: Sequence[Path]) -> dict[str, dict[str, str]]:
    """The environment of each allocator, by its name in the table."""
    found = {SYSTEM: {VARIABLE: SYSTEM}, KEEP: {VARIABLE: KEEP}}
    if huge_pages:
        found |= {f"{name}, huge pages": {**environment, **HUGE_PAGES} for name, environment in list(found.items())}
    return found | {path.name: {"LD_PRELOAD": str(path)} for path in preload}


def trial(work: Work, *, environment: dict[str, str], num_threads: int) -> Trial:
    """What one process found.

    Raises:
        McdistError: it failed or took too long; its last words are in the message.
    """
    outside = {name: value for name, value in os.environ.items() if name not in (VARIABLE, "LD_PRELOAD", "GLIBC_TUNABLES")}
    paths = os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
    command = [sys.executable, "-m", "benchmarks.step.allocator_trial", *map(str, work), "--num-threads", str(num_threads)]
    try:
        done = subprocess.run(command, env={**outside, **environment, "PYTHONPATH": paths}, capture_output=True, text=True, timeout=TIMEOUT_S, check=True)
    except subprocess.TimeoutExpired as error:
        raise McdistError(f"{' '.join(command[1:])} did not end within {TIMEOUT_S} s; measure less with --quick") from error
    except subprocess.CalledProcessError as error:
        raise McdistError(f"{' '.join(command[1:])} failed with {environment}: {error.stderr.strip()[-600:]}") from error
    found: Trial = json.loads(done.stdout.splitlines()[-1])
    return found


def measure(works: Sequence[Work], *, environments: dict[str, dict[str, str]], num_rounds: int, num_threads: int) -> list[Measurement]:
    """Rows of every work and allocator; each trial is printed to the error stream as soon as it is known."""
    rows = []
    for work in works:
        trials: defaultdict[str, list[Trial]] = defaultdict(list)
        for number in range(num_rounds):
            for name, environment in environments.items():
                found = trial(work, environment=environment, num_threads=num_threads)
                trials[name].append(found)
                typer.echo(f"round {number + 1} of {num_rounds}: {_line(name, work=work, found=found)}", err=True)
        rows += _rows(work, trials=trials, num_threads=num_threads)
    return rows


def _line(name: str, *, work: Work, found: Trial) -> str:
    time_ms, faults = (_median(found, metric) for metric in (0, 3))
    return f"{work[0]}, {work[1]} photos of {work[2]} px, {name}: {time_ms:,.0f} ms, {faults:,.0f} page faults, peak {found['peak_mib'] or 0:,.0f} MiB"


def _rows(work: Work, *, trials: dict[str, list[Trial]], num_threads: int) -> list[Measurement]:
    rows = []
    load = f"load of the machine {os.getloadavg()[0]:.1f}"
    shape = f"{work[1]} photos of {work[2]} px, model of configs/photos.yaml, {num_threads} threads, {load}"
    for name, found in trials.items():
        row = partial(measurement, benchmark="allocator", provider=name, mode=work[0], shape=shape, device=torch.device("cpu"))
        for place, (metric, unit) in enumerate(METRICS):
            rows.append(row([taken[place] for one in found for taken in one["passes"]], metric=metric, unit=unit))
        if all(one["peak_mib"] for one in found):
            rows.append(row([one["peak_mib"] for one in found], metric="peak memory", unit="MiB"))
        for place, (metric, _) in enumerate(METRICS[:2]):
            ratios = [_median(one, place) / _median(base, place) for one, base in zip(found, trials[SYSTEM], strict=True)]
            rows.append(row(ratios, metric=f"{metric} against system", unit="x"))
    return rows


def _median(found: Trial, place: int) -> float:
    return statistics.median(taken[place] for taken in found["passes"])


def main(
    preload: Annotated[list[Path] | None, typer.Option(metavar="FILE.so", help="Measure this allocator too; repeat it for several.")] = None,
    huge_pages: Annotated[bool, typer.Option("--huge-pages", help="Measure glibc with madvised huge pages too (glibc.malloc.hugetlb=1).")] = False,
    num_rounds: Annotated[int, typer.Option(min=1, help="How often every allocator is measured.")] = 3,
    num_threads: Annotated[int, typer.Option(min=1, help="CPU threads; default: the cores of this machine.")] = num_cores(),
    quick: Annotated[bool, typer.Option("--quick", help="One round of one forward pass of four photos.")] = False,
    json: Annotated[Path | None, typer.Option(help="Write the rows to this file.")] = None,
) -> None:
    """Time, page faults and peak memory by allocator."""
    for path in preload or []:
        if not path.is_file():
            raise ConfigError(f"--preload must name a shared library, found no file at {path}")
    environments = ways(huge_pages=huge_pages, preload=preload or [])
    rows = measure(QUICK if quick else WORKS, environments=environments, num_rounds=1 if quick else num_rounds, num_threads=num_threads)
    publish(rows, json_path=json)


if __name__ == "__main__":
    run(main)
