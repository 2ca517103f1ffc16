"""What does malloc cost: glibc as it starts, glibc that keeps freed memory (what mcdist sets), and any allocator that can be preloaded?

    python -m benchmarks.step.allocator
    python -m benchmarks.step.allocator --huge-pages --preload /usr/lib/x86_64-linux-gnu/libjemalloc.so.2

Each allocator has a process of its own (benchmarks/step/allocator_trial.py), and they take turns: a round is one pass of each, there and back, so
that what else the machine does meets all of them. `against system` is the median of the rounds' ratios. The peak is the whole process's, from its start.
Where the machine is busy, use `--num-threads 1` and read the CPU time: threads that wait for each other spin.
"""

import os
from collections.abc import Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Annotated

import torch
import typer

from benchmarks.harness.command import run
from benchmarks.harness.measurement import Measurement, measurement, publish
from benchmarks.harness.progress import say
from benchmarks.harness.turns import PASS_METRICS, Trial, ratios_by_round, started
from mcdist.errors import ConfigError
from mcdist.machine.allocator import VARIABLE
from mcdist.machine.cores import num_cores

TRIAL = "benchmarks.step.allocator_trial"
SYSTEM, KEEP = "system", "auto"
HUGE_PAGES = {"GLIBC_TUNABLES": "glibc.malloc.hugetlb=1"}
Work = tuple[str, int, int]
WORKS: tuple[Work, ...] = (("forward", 16, 160), ("forward", 8, 256), ("training", 16, 160))
"""Work, photos, their side in px."""


CLEAN: dict[str, str | None] = dict.fromkeys((VARIABLE, "LD_PRELOAD", "GLIBC_TUNABLES"))


def ways(*, huge_pages: bool, preload: Sequence[Path]) -> dict[str, dict[str, str]]:
    """The environment of each allocator, by its name in the table."""
    found = {SYSTEM: {VARIABLE: SYSTEM}, KEEP: {VARIABLE: KEEP}}
    if huge_pages:
        found |= {f"{name}, huge pages": {**environment, **HUGE_PAGES} for name, environment in list(found.items())}
    return found | {path.name: {"LD_PRELOAD": str(path)} for path in preload}


def measure(work: Work, *, environments: dict[str, dict[str, str]], num_rounds: int, num_threads: int) -> list[Measurement]:
    """Rows of one kind of work; each pass is printed to the error stream as soon as it is known."""
    with ExitStack() as stack:
        trials = {}
        for name, environment in environments.items():
            arguments = (*map(str, work), "--num-threads", str(num_threads))
            trials[name] = stack.enter_context(started(TRIAL, *arguments, environment={**CLEAN, **environment}))
            say(f"{name} is ready ({trials[name].ready})")
        for number in range(num_rounds):
            for name in [*trials, *reversed(trials)]:
                time_ms, _, _, faults = trials[name].take_pass()
                say(f"round {number + 1} of {num_rounds}, {' '.join(map(str, work))}, {name}: {time_ms:,.0f} ms, {faults:,.0f} page faults")
        for trial in trials.values():
            trial.end()
    return rows_of(work, trials=trials, num_threads=num_threads)


def rows_of(work: Work, *, trials: dict[str, Trial], num_threads: int) -> list[Measurement]:
    """Each metric of each allocator, its peak, and its times as multiples of the system's in the same round."""
    load = f"load of the machine {os.getloadavg()[0]:.1f}"
    shape = f"{work[1]} photos of {work[2]} px, model of configs/voc_animals_imagenet.yaml, {num_threads} threads, {load}"
    rows = []
    for name, trial in trials.items():
        row = partial(measurement, benchmark="allocator", provider=name, mode=work[0], shape=shape, device=torch.device("cpu"))
        rows += [row([taken[place] for taken in trial.passes], metric=metric, unit=unit) for place, (metric, unit) in enumerate(PASS_METRICS)]
        if trial.last is not None:
            rows.append(row([trial.last], metric="peak memory", unit="MiB"))
        for place, (metric, _) in enumerate(PASS_METRICS[:2]):
            found = ratios_by_round(trial.passes, trials[SYSTEM].passes, place=place, passes_per_round=2)
            rows.append(row(found, metric=f"{metric} against system", unit="x"))
    return rows


def read_work(text: str) -> Work:
    """`forward:16:160`. Raises ConfigError for another form."""
    name, *numbers = text.split(":")
    if len(numbers) != 2 or not all(number.isdecimal() and int(number) for number in numbers):
        raise ConfigError(f"--work must be WORK:PHOTOS:PX, such as forward:16:160, got {text!r}")
    return name, int(numbers[0]), int(numbers[1])


def main(
    preload: Annotated[list[Path] | None, typer.Option(metavar="FILE.so", help="Measure this allocator too; repeat it for several.")] = None,
    huge_pages: Annotated[bool, typer.Option("--huge-pages", help="Measure glibc with madvised huge pages too (glibc.malloc.hugetlb=1).")] = False,
    num_rounds: Annotated[int, typer.Option(min=1, help="Two passes of every allocator each.")] = 5,
    num_threads: Annotated[int | None, typer.Option(min=1, help="CPU threads; default: the cores of this machine.")] = None,
    work: Annotated[list[str] | None, typer.Option(metavar="WORK:PHOTOS:PX", help="Such as forward:16:160; repeat it. Default: three of them.")] = None,
    json: Annotated[Path | None, typer.Option(help="Write the rows to this file.")] = None,
) -> None:
    """Time, page faults and peak memory by allocator."""
    for path in preload or []:
        if not path.is_file():
            raise ConfigError(f"--preload must name a shared library, found no file at {path}")
    environments, rows = ways(huge_pages=huge_pages, preload=preload or []), []
    for each in [read_work(text) for text in work or []] or WORKS:
        rows += measure(each, environments=environments, num_rounds=num_rounds, num_threads=num_threads or num_cores())
    publish(rows, json_path=json)


QUICK = ("--work", "forward:4:160", "--num-rounds", "1")

if __name__ == "__main__":
    run(main, quick=QUICK)
