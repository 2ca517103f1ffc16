"""How long does the object graph take, in how much memory, and how much of the true neighbours does it find?

    python -m benchmarks.groups.graph --objects 100000 --json benchmarks/groups/results/graph_100000.json
    python -m benchmarks.groups.graph --objects 2000 --search exact

Objects are generated: 60 kinds that overlap, two objects of a photo, which are never neighbours. A memory-mapped file in half precision, as a
feature store has them, is grouped as `mcdist group` does, without the subsamples that measure stability. One process for each size: the peak is that of the
process, beyond what it held when it began, and counts the pages of the map that it touched. Where at most 2,000 objects are asked for, the graph is
compared with a dense one first.
"""

import ctypes
import tempfile
import time
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated

import numpy
import torch
import typer

from benchmarks.harness.command import run
from benchmarks.harness.measurement import Measurement, measurement, publish, status_kib
from mcdist.choices import GraphSearch, require_choice
from mcdist.errors import ConfigError, DataError
from mcdist.groups.clustering.agreement import adjusted_rand
from mcdist.groups.find import find_groups
from mcdist.groups.graph.affinity import affinity, normalised
from mcdist.groups.graph.neighbours import find_neighbours
from mcdist.groups.graph.nodes import make_nodes
from mcdist.groups.graph.rows import ArrayRows
from mcdist.groups.record import Grouping
from mcdist.groups.settings import GroupSettings

STAGES = ("vectors", "neighbours", "graph and groups")
NUM_KINDS = 60
LATENT_DIMS = 24
DENSE_MAX = 2_000
BLOCK = 10_000


def generate(path: Path, *, num_objects: int, num_dims: int, spread: float, seed: int = 0) -> numpy.ndarray:
    """Write the vectors in blocks as a memory map, and return the kind of each object.

    Kinds are clusters in a space of LATENT_DIMS dimensions, which overlap with a `spread` near 1; a linear map takes them to `num_dims`, where noise of
    the same energy is added.
    """
    random = numpy.random.default_rng(seed)
    centres = random.standard_normal((NUM_KINDS, LATENT_DIMS), dtype=numpy.float32)
    basis = random.standard_normal((LATENT_DIMS, num_dims), dtype=numpy.float32) / LATENT_DIMS**0.5
    kind = random.integers(0, NUM_KINDS, num_objects)
    mapped = numpy.lib.format.open_memmap(path, mode="w+", dtype=numpy.float16, shape=(num_objects, num_dims))
    for start in range(0, num_objects, BLOCK):
        here = kind[start : start + BLOCK]
        latent = centres[here] + spread * random.standard_normal((len(here), LATENT_DIMS), dtype=numpy.float32)
        mapped[start : start + BLOCK] = latent @ basis + random.standard_normal((len(here), num_dims), dtype=numpy.float32)
    mapped.flush()
    return kind


def check(vectors: numpy.ndarray, *, source_of: numpy.ndarray, settings: GroupSettings) -> None:
    """Refuse to time a graph that is not that of a dense computation."""
    nodes = make_nodes([ArrayRows(vectors)], source_of=source_of)
    found = find_neighbours(nodes.vectors, num_neighbours=settings.neighbours[0], source_of=nodes.source_of, search="exact")
    unit = nodes.vectors.take(numpy.arange(len(nodes.vectors))).astype(numpy.float64)
    cosine = unit @ unit.T
    cosine[nodes.source_of[:, None] == nodes.source_of[None, :]] = -numpy.inf
    least = numpy.sort(cosine, axis=1)[:, -found.index.shape[1]][:, None]
    dense = numpy.where(cosine >= least, numpy.exp((numpy.minimum(cosine, 1) - 1) / settings.tau), 0)
    dense = numpy.maximum(dense, dense.T)
    scale = 1 / numpy.sqrt(dense.sum(axis=1))
    error = float(numpy.abs(normalised(affinity(found, tau=settings.tau)).toarray() - scale[:, None] * dense * scale[None, :]).max())
    if error > 1e-4:
        raise DataError(f"the graph differs from the dense one by {error:.2g}, expected at most 1e-4")


@dataclass(frozen=True, slots=True)
class Trial:
    """`wall_s` and `cpu_s`, of all threads, of each stage; `peak_mib` beyond what the process held before."""

    grouping: Grouping
    wall_s: dict[str, float]
    cpu_s: dict[str, float]
    peak_mib: float


def timed(path: Path, *, settings: GroupSettings) -> Trial:
    """Group the vectors in `path`, once."""
    vectors = numpy.load(path, mmap_mode="r")
    source_of = numpy.arange(len(vectors)) // 2
    if len(vectors) <= DENSE_MAX:
        check(vectors, source_of=source_of, settings=settings)
    find_groups([ArrayRows(vectors[:500])], settings=settings)  # libraries and threads are there before the clock starts
    began: list[tuple[float, float]] = []
    ctypes.CDLL(None).malloc_trim(0)
    Path("/proc/self/clear_refs").write_text("5")
    before_kib = status_kib("VmRSS")
    grouping = find_groups(
        [ArrayRows(vectors)], source_of=source_of, settings=settings, on_stage=lambda stage: began.append((time.perf_counter(), time.process_time()))
    )
    peak_mib = (status_kib("VmHWM") - before_kib) / 1024
    wall_s, cpu_s = ({stage: end - start for stage, start, end in zip(STAGES, ends[:-1], ends[1:], strict=True)} for ends in zip(*began, strict=True))
    return Trial(grouping, wall_s, cpu_s, peak_mib)


def rows_of(trial: Trial, *, shape: str, kind: numpy.ndarray) -> list[Measurement]:
    """The stages, their sum, the peak, the recall and how much of the planted kinds was found."""
    grouping = trial.grouping
    row = partial(measurement, benchmark="graph", provider=f"mcdist, {grouping.facts.search}", shape=shape, device=torch.device("cpu"))
    rows = []
    for metric, seconds in (("time", trial.wall_s), ("processor time", trial.cpu_s)):
        rows += [row([value], mode=mode, metric=metric, unit="s") for mode, value in {**seconds, "whole": sum(seconds.values())}.items()]
    rows.append(row([trial.peak_mib], mode="whole", metric="peak extra memory", unit="MiB"))
    rows.append(row([100 * grouping.facts.recall], mode="neighbours", metric="recall", unit="%"))
    rows.append(row([float(grouping.facts.num_pieces)], mode="graph and groups", metric="pieces before bridges", unit="pieces"))
    largest = max(grouping.settings.num_groups)
    rows.append(row([adjusted_rand(grouping.of(largest).group, other=kind)], mode=f"{largest} groups", metric="adjusted Rand index", unit="1"))
    return rows


def main(
    objects: Annotated[int, typer.Option(min=10, help="Objects to generate.")] = 100_000,
    dims: Annotated[int, typer.Option(min=8, help="Length of a vector.")] = 320,
    spread: Annotated[float, typer.Option(help="Of a kind around its centre; kinds overlap near 1.")] = 0.6,
    neighbours: Annotated[int, typer.Option(min=1, help="k.")] = 10,
    search: Annotated[str, typer.Option(help="auto, exact or approximate.")] = "auto",
    json: Annotated[Path | None, typer.Option(help="Write all rows to this file.")] = None,
) -> None:
    """Time, memory and recall of the object graph with 6, 12, 25 and 60 groups."""
    require_choice("--search", search, choices=GraphSearch)
    if not Path("/proc/self/clear_refs").exists():
        raise ConfigError("the peak of memory is read from Linux' /proc/self, which this system lacks; run it on Linux")
    settings = GroupSettings(neighbours=(neighbours,), num_groups=(6, 12, 25, NUM_KINDS), search=search, num_subsamples=0)  # type: ignore[arg-type]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "vectors.npy"
        kind = generate(path, num_objects=objects, num_dims=dims, spread=spread)
        trial = timed(path, settings=settings)
    shape = f"{objects:,} objects of {dims} dimensions, k = {neighbours}, K = 6, 12, 25, {NUM_KINDS}"
    publish(rows_of(trial, shape=shape, kind=kind), json_path=json)


QUICK = ("--objects", "2000", "--dims", "64", "--search", "exact")

if __name__ == "__main__":
    run(main, quick=QUICK)
