"""How much slower is a training step while another process keeps a core busy, by how torch's threads wait for each other?

    python -m benchmarks.step.polite
    python -m benchmarks.step.polite --work training:4:64 --busy 2

Each way has a process of its own (benchmarks/step/allocator_trial.py), and they take turns: one pass of each on the machine as it is, then one of each
beside `--busy` processes that do nothing but count. `busy / quiet` is the median of the rounds' ratios. Two threads on two cores beside one such process have
two thirds of the machine, so 1.5 is perfect; 2 is the whole step on the core that is left, or every thread waiting for one that has half a core.
`quiet` is quiet only where nothing else runs: the rows say the load.
"""

import multiprocessing
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from itertools import count
from pathlib import Path
from typing import Annotated

import torch
import typer

from benchmarks.harness.command import run
from benchmarks.harness.measurement import Measurement, measurement, publish
from benchmarks.harness.progress import say
from benchmarks.harness.turns import PASS_METRICS, Trial, ratios_by_round, started
from benchmarks.step.allocator import TRIAL, Work, read_work
from mcdist.machine.cores import num_compute_cores
from mcdist.machine.waiting import SETTINGS, SPINS, VARIABLE

UNSET: dict[str, str | None] = dict.fromkeys((*SETTINGS, "OMP_WAIT_POLICY", "OMP_NUM_THREADS"))
STARTS, OURS, ONE = "as OpenMP starts", f"mcdist, {SPINS:,} spins", "one thread"
WAYS: dict[str, dict[str, str]] = {
    STARTS: {VARIABLE: "system"},
    OURS: {},
    "0 spins": {"GOMP_SPINCOUNT": "0"},
    "20,000 spins": {"GOMP_SPINCOUNT": "20000"},
    ONE: {},
}
QUIET, BUSY = "quiet", "busy"


@contextmanager
def busy_processes(number: int) -> Iterator[None]:
    """So many processes that count for ever; ended with the block."""
    context = multiprocessing.get_context("spawn")
    processes = [context.Process(target=_count, daemon=True) for _ in range(number)]
    for process in processes:
        process.start()
    try:
        yield
    finally:
        for process in processes:
            process.kill()
            process.join()


def _count() -> None:
    for _ in count():
        pass


def measure(work: Work, *, names: list[str], num_busy: int, num_rounds: int, num_threads: int) -> list[Measurement]:
    """Rows of one kind of work."""
    with ExitStack() as stack:
        trials: dict[str, Trial] = {}
        for name in names:
            threads = 1 if name == ONE else num_threads
            arguments = (*map(str, work), "--num-threads", str(threads))
            trials[name] = stack.enter_context(started(TRIAL, *arguments, environment={**UNSET, **WAYS[name]}))
            say(f"{name} is ready")
        for number in range(num_rounds):
            for mode in (QUIET, BUSY):
                with busy_processes(num_busy if mode == BUSY else 0):
                    for name, trial in trials.items():
                        time_ms, cpu_ms, *_ = trial.take_pass()
                        say(f"round {number + 1} of {num_rounds}, {mode}, {name}: {time_ms:,.0f} ms, {cpu_ms:,.0f} ms of CPU time")
        for trial in trials.values():
            trial.end()
    shape = f"{work[0]}, {work[1]} photos of {work[2]} px, {num_threads} threads, {num_busy} busy processes"
    return [row for name, trial in trials.items() for row in rows_of(name, trial=trial, base=trials[names[0]], shape=shape)]


def rows_of(name: str, *, trial: Trial, base: Trial, shape: str) -> list[Measurement]:
    """Time and CPU time in both modes, how they compare, and the quiet time beside the first way's."""
    row = partial(measurement, benchmark="polite", provider=name, shape=shape, device=torch.device("cpu"))
    passes = {QUIET: trial.passes[::2], BUSY: trial.passes[1::2]}
    rows = [
        row([taken[place] for taken in passes[mode]], mode=mode, metric=metric, unit=unit)
        for mode in (QUIET, BUSY)
        for place, (metric, unit) in enumerate(PASS_METRICS[:2])
    ]
    rows.append(row(ratios_by_round(passes[BUSY], passes[QUIET], place=0, passes_per_round=1), mode="busy / quiet", metric="time", unit="x"))
    rows.append(row(ratios_by_round(passes[QUIET], base.passes[::2], place=0, passes_per_round=1), mode="quiet, beside the first way", metric="time", unit="x"))
    return rows


def main(
    way: Annotated[list[str] | None, typer.Option(help=f"One of: {'; '.join(WAYS)}. Repeat it for several; default: all.")] = None,
    work: Annotated[str, typer.Option(metavar="WORK:PHOTOS:PX", help="As of benchmarks.step.allocator.")] = "training:16:96",
    busy: Annotated[int, typer.Option(min=1, help="Busy processes.")] = 1,
    num_rounds: Annotated[int, typer.Option(min=1, help="A quiet and a busy pass of every way each.")] = 5,
    num_threads: Annotated[int | None, typer.Option(min=1, help="CPU threads; default: as run.num_threads=0.")] = None,
    json: Annotated[Path | None, typer.Option(help="Write the rows to this file.")] = None,
) -> None:
    """Time of a training step on a quiet and on a busy machine."""
    if unknown := sorted({*(way or [])} - {*WAYS}):
        raise typer.BadParameter(f"--way must be one of {'; '.join(WAYS)}, got {'; '.join(unknown)}")
    rows = measure(read_work(work), names=way or list(WAYS), num_busy=busy, num_rounds=num_rounds, num_threads=num_threads or num_compute_cores())
    publish(rows, json_path=json)


QUICK = ("--way", OURS, "--way", "0 spins", "--work", "training:4:64", "--num-rounds", "2")

if __name__ == "__main__":
    run(main, quick=QUICK)
