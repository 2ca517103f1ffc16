"""How many vectors can K-means cluster on this machine without holding them, how fast, and is the result as good as with all of them in memory?

    python -m benchmarks.groups.kmeans --vectors 4000000 --json benchmarks/groups/results/kmeans_4M.json

Generated vectors (overlapping kinds, float32) lie in a file and are read in blocks in each pass of Lloyd's method; no vector is left out. The peak is that of
the process, beyond what it held before. A first, small set is clustered in blocks and by FAISS in memory with the same number of starts; where the
objective in blocks is more than 1 % worse, nothing is timed. `100 M, extrapolated` multiplies the time of a pass: it is linear in the number of vectors.
"""

import ctypes
import tempfile
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Annotated

import numpy
import torch
import typer

from benchmarks.harness.command import run
from benchmarks.harness.measurement import Measurement, measurement, publish, status_kib
from mcdist.errors import DataError
from mcdist.groups.clustering.blocks import Blocks, fit_centres_of_blocks
from mcdist.groups.clustering.kmeans import fit_centres

NUM_KINDS = 64
BLOCK = 2**17
SMALL = 20_000
WORSE_MAX = 1.01
MANY = 10**8


def write_vectors(path: Path, *, num: int, num_dims: int, seed: int = 0) -> None:
    """Vectors of NUM_KINDS overlapping kinds, block by block."""
    random = numpy.random.default_rng(seed)
    centres = 2 * random.standard_normal((NUM_KINDS, num_dims), dtype=numpy.float32)
    with path.open("wb") as file:
        for start in range(0, num, BLOCK):
            here = min(BLOCK, num - start)
            kind = random.integers(0, NUM_KINDS, here)
            file.write((centres[kind] + random.standard_normal((here, num_dims), dtype=numpy.float32)).tobytes())


def blocks_of(path: Path, *, num_dims: int) -> Blocks:
    """The vectors of a file; each call reads it from the beginning."""

    def blocks() -> Iterator[numpy.ndarray]:
        with path.open("rb") as file:
            while content := file.read(BLOCK * num_dims * 4):
                yield numpy.frombuffer(content, dtype=numpy.float32).reshape(-1, num_dims)

    return blocks


def check(folder: Path, *, num_dims: int, num_clusters: int) -> float:
    """Objective in blocks over that of FAISS in memory; DataError where it is more than 1 % worse."""
    path = folder / "small.bin"
    write_vectors(path, num=SMALL, num_dims=num_dims)
    blocks = blocks_of(path, num_dims=num_dims)
    in_blocks = fit_centres_of_blocks(blocks, num_clusters=num_clusters, seed=0, num_starts=3, num_iterations=25)
    in_memory = fit_centres(numpy.concatenate(list(blocks())), num_clusters=num_clusters, seed=0, num_starts=3, num_iterations=25)
    ratio = in_blocks.objective / in_memory.objective
    if ratio > WORSE_MAX:
        raise DataError(f"K-means in blocks ended with {ratio:.3f} times the objective of FAISS in memory, expected at most {WORSE_MAX}")
    return ratio


def main(
    vectors: Annotated[int, typer.Option(min=1, help="How many vectors.")] = 1_000_000,
    dims: Annotated[int, typer.Option(min=1, help="Dimensions of a vector.")] = 32,
    clusters: Annotated[int, typer.Option(min=1, help="K.")] = 256,
    passes: Annotated[int, typer.Option(min=1, help="Passes of Lloyd's method.")] = 5,
    num_threads: Annotated[int, typer.Option(min=0, help="Threads; 0 as many as there are cores.")] = 0,
    json: Annotated[Path | None, typer.Option(help="Write the rows to this file.")] = None,
) -> None:
    """Time and memory of K-means over a file of vectors."""
    if num_threads:
        import faiss

        faiss.omp_set_num_threads(num_threads)
        torch.set_num_threads(num_threads)
    with tempfile.TemporaryDirectory() as room:
        ratio = check(Path(room), num_dims=dims, num_clusters=min(clusters, SMALL // 4))
        typer.echo(f"{SMALL:,} vectors: objective in blocks / FAISS in memory = {ratio:.4f}", err=True)
        path = Path(room) / "vectors.bin"
        write_vectors(path, num=vectors, num_dims=dims)
        ctypes.CDLL(None).malloc_trim(0)
        Path("/proc/self/clear_refs").write_text("5")
        before_kib = status_kib("VmRSS")
        began_s, began_cpu_s = time.perf_counter(), time.process_time()
        fit_centres_of_blocks(blocks_of(path, num_dims=dims), num_clusters=clusters, seed=0, num_starts=1, num_iterations=passes)
        wall_s, cpu_s = time.perf_counter() - began_s, time.process_time() - began_cpu_s
        peak_mib = (status_kib("VmHWM") - before_kib) / 1024
    publish(rows_of(ratio, wall_s=wall_s, cpu_s=cpu_s, peak_mib=peak_mib, num=vectors, num_dims=dims, num_clusters=clusters, num_passes=passes), json_path=json)


def rows_of(ratio: float, *, wall_s: float, cpu_s: float, peak_mib: float, num: int, num_dims: int, num_clusters: int, num_passes: int) -> list[Measurement]:
    """The rows. Passes that compute are Lloyd's and the last one, of the objective; the survey and the draw only read."""
    shape = f"{num:,} vectors of {num_dims} dimensions, K = {num_clusters}, {num_passes} passes, {BLOCK:,} vectors a block"
    row = partial(measurement, benchmark="kmeans", provider="mcdist, in blocks", shape=shape, device=torch.device("cpu"))
    computing = num_passes + 1
    return [
        row([ratio], mode=f"{SMALL:,} vectors", metric="objective against FAISS in memory", unit="x"),
        row([wall_s], mode="whole", metric="time", unit="s"),
        row([cpu_s], mode="whole", metric="processor time", unit="s"),
        row([computing * num / wall_s / 1e6], mode="a pass", metric="vectors", unit="M/s"),
        row([peak_mib], mode="whole", metric="peak extra memory", unit="MiB"),
        row([MANY * wall_s / num / 60], mode=f"{MANY // 10**6} M, extrapolated", metric="time", unit="min"),
    ]


QUICK = ("--vectors", "100000", "--passes", "2")

if __name__ == "__main__":
    run(main, quick=QUICK)
