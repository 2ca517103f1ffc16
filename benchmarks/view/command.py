"""How long from typing `mcdist view` until it answers?

    python -m benchmarks.view.command RUN --json benchmarks/view/results/command.json

The catalogue of a run, its objects repeated until there are enough, is shown by the command itself, as a process of its own without a browser. "address" is the
time from its start until it prints the address, "state" until it has answered with the page and all clusters; "processor" is the processor time that the
process took until then. Thumbnails are made meanwhile and not waited for.
"""

import os
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Sequence
from dataclasses import replace
from http.cookiejar import CookieJar
from pathlib import Path
from typing import Annotated

import numpy
import torch
import typer

from benchmarks.harness import inputs
from benchmarks.harness.command import run
from benchmarks.harness.measurement import Measurement, measurement, publish
from mcdist.catalogue.catalogue import Catalogue
from mcdist.catalogue.file import write_catalogue
from mcdist.catalogue.objects import CataloguedObjects
from mcdist.errors import MachineError
from mcdist.run_dir import RunDir

STARTED = "open http"
TICKS_A_SECOND = os.sysconf("SC_CLK_TCK")


def enlarged(source: RunDir, *, folder: Path, num_objects: int) -> Path:
    """A run folder with the configuration of `source` and its catalogue, whose objects are repeated up to `num_objects`."""
    catalogue, target = Catalogue.open(source), RunDir(folder)
    rows = numpy.arange(num_objects) % len(catalogue.objects)
    columns = {name: getattr(catalogue.objects, name)[rows] for name in CataloguedObjects.__dataclass_fields__}
    target.config.write_bytes(source.config.read_bytes())
    facts, objects = replace(catalogue.facts, key=""), CataloguedObjects(**columns)
    write_catalogue(target.catalogue, facts=facts, clusters=catalogue.clusters, objects=objects, photos=catalogue.photos, sizes=catalogue.sizes)
    return folder


def started(folder: Path) -> dict[str, float]:
    """Seconds until the address and until the state, and processor seconds, of one start."""
    began_s = time.perf_counter()
    command = [sys.executable, "-m", "mcdist", "view", str(folder), "--port", "0", "--no-browser"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        try:
            assert process.stderr is not None
            said: list[str] = []
            for line in process.stderr:
                said.append(line)
                if line.startswith(STARTED):
                    break
            else:
                raise MachineError(f"mcdist view {folder} ended with code {process.wait()} before it printed an address: {''.join(said)}")
            address, address_s = said[-1].split()[1], time.perf_counter() - began_s
            browser = urllib.request.build_opener(urllib.request.HTTPCookieProcessor(CookieJar()))
            for path in (address, f"{address.partition('?')[0]}api/state"):
                with browser.open(path, timeout=60) as answer:
                    answer.read()
            return {"address": address_s, "state": time.perf_counter() - began_s, "processor": _processor_s(process.pid)}
        finally:
            process.terminate()


def _processor_s(pid: int) -> float:
    """Of a process, as Linux counts it."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS_A_SECOND


def rows_of(starts: Sequence[dict[str, float]], *, num_objects: int) -> list[Measurement]:
    """A row for each of what `started` measures."""
    return [
        measurement(
            [one[mode] for one in starts],
            benchmark="view command",
            provider="mcdist view",
            mode=mode,
            shape=f"{num_objects:,} objects",
            metric="time from the start",
            unit="s",
            device=torch.device("cpu"),
        )
        for mode in starts[0]
    ]


def main(
    folder: Annotated[Path, typer.Argument(metavar="RUN", help="A run with a catalogue, whose shards are there.")],
    objects: Annotated[list[int], typer.Option(help="Objects of the catalogue.")] = [2_000, 100_000],  # noqa: B006  # typer reads the default
    runs: Annotated[int, typer.Option(min=1, help="Starts at each size.")] = 3,
    json_path: Annotated[Path | None, typer.Option("--json", help="File for the rows.")] = None,
) -> None:
    """Start the command at each size."""
    rows: list[Measurement] = []
    for num_objects in objects:
        with tempfile.TemporaryDirectory() as made:
            large = enlarged(RunDir(folder), folder=Path(made), num_objects=num_objects)
            rows += rows_of([started(large) for _ in range(runs)], num_objects=num_objects)
    publish(rows, json_path=json_path)


def quick(folder: Path) -> list[str]:
    """Arguments of `--quick`."""
    return [inputs.catalogued_run(folder)[0], "--objects", "200", "--runs", "1"]


if __name__ == "__main__":
    run(main, quick=quick)
