"""How long does mcdist's K-means take beside scikit-learn's KMeans, and whose inertia is lower?

    OMP_NUM_THREADS=1 python -m benchmarks.metrics.kmeans --json benchmarks/metrics/results/kmeans.json

Vectors are generated: kinds that overlap. All take the same number of starts, at most 100 iterations each, and the same number of threads; mcdist by FAISS,
whose starts are random, and by its own (evaluate.kmeans=plus-plus); scikit-learn as it comes (k-means++) and with random starts. Every run has another seed,
the same for all. The inertia is counted here, in float64, from their centres.
"""

import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Annotated

import numpy
import torch
import typer

from benchmarks.harness.command import run
from benchmarks.harness.measurement import Measurement, measurement, publish
from mcdist.choices import KmeansMethod
from mcdist.groups.clustering.kmeans import NUM_ITERATIONS, fit_centres, nearest_centres

SHAPES = ((1_449, 32, 20, 20), (10_582, 32, 21, 20), (50_000, 50, 300, 1))
"""(vectors, dimensions, clusters, starts): objects of VOC val, of trainaug, and patches to be overclustered."""
SPREAD = 1.0

Fit = Callable[[int], numpy.ndarray]
"""A seed -> centres."""


def make_vectors(num: int, *, num_dims: int, num_kinds: int) -> numpy.ndarray:
    """Gaussian kinds around Gaussian centres."""
    random = numpy.random.default_rng(0)
    centres = random.standard_normal((num_kinds, num_dims))
    return (centres[random.integers(num_kinds, size=num)] + SPREAD * random.standard_normal((num, num_dims))).astype(numpy.float32)


def fits(vectors: numpy.ndarray, *, num_clusters: int, num_starts: int) -> dict[str, Fit]:
    """What finds centres, by name."""
    from sklearn.cluster import KMeans

    def learnt(seed: int, *, init: str) -> numpy.ndarray:
        return KMeans(num_clusters, init=init, n_init=num_starts, max_iter=NUM_ITERATIONS, random_state=seed).fit(vectors).cluster_centers_

    def ours(seed: int, *, method: KmeansMethod) -> numpy.ndarray:
        return fit_centres(vectors, num_clusters=num_clusters, seed=seed, num_starts=num_starts, method=method).centres

    return {
        "mcdist, plus-plus": partial(ours, method="plus-plus"),
        "mcdist, FAISS": partial(ours, method="faiss"),
        "scikit-learn, k-means++": partial(learnt, init="k-means++"),
        "scikit-learn, random": partial(learnt, init="random"),
    }


def inertia(vectors: numpy.ndarray, *, centres: numpy.ndarray) -> float:
    """Sum of squared distances to the nearest centre."""
    nearest = nearest_centres(vectors, centres=centres.astype(numpy.float32), num=1)[1][:, 0]
    return float(((vectors.astype(numpy.float64) - centres[nearest]) ** 2).sum())


def measured(fit: Fit, *, provider: str, vectors: numpy.ndarray, shape: str, num_runs: int) -> list[Measurement]:
    """Wall time, processor time and inertia."""
    wall_ms, cpu_ms, inertias = [], [], []
    fit(0)
    for seed in range(num_runs):
        began, began_cpu = time.perf_counter(), time.process_time()
        centres = fit(seed)
        wall_ms.append(1000 * (time.perf_counter() - began))
        cpu_ms.append(1000 * (time.process_time() - began_cpu))
        inertias.append(inertia(vectors, centres=centres) / len(vectors))
    row = partial(measurement, benchmark="kmeans", provider=provider, mode="fit", shape=shape, device=torch.device("cpu"))
    return [
        row(wall_ms, metric="time", unit="ms"),
        row(cpu_ms, metric="processor time", unit="ms"),
        row(inertias, metric="inertia a vector", unit="1"),
    ]


def ratios(rows: Sequence[Measurement]) -> list[str]:
    """Of each shape, scikit-learn's processor time over that of plus-plus, and how much higher its mean inertia is."""
    named = {(row.shape, row.provider, row.metric): row for row in rows}
    said = []
    for shape in dict.fromkeys(row.shape for row in rows):
        ours, theirs = (
            [named[shape, provider, metric] for metric in ("processor time", "inertia a vector")]
            for provider in ("mcdist, plus-plus", "scikit-learn, k-means++")
        )
        said.append(f"{shape}: {theirs[0].median / ours[0].median:.1f} x as fast, median inertia {ours[1].median:.3f} beside {theirs[1].median:.3f}")
    return said


def main(
    sizes: Annotated[int, typer.Option(min=1, max=len(SHAPES), help="Only the first so many of the sizes.")] = len(SHAPES),
    runs: Annotated[int, typer.Option(min=1, help="Timed fits of each.")] = 5,
    json: Annotated[Path | None, typer.Option(help="Write all rows to this file.")] = None,
) -> None:
    """Time and inertia of K-means, by FAISS, by mcdist and by scikit-learn."""
    rows = []
    for num, num_dims, num_clusters, num_starts in SHAPES[:sizes]:
        vectors = make_vectors(num, num_dims=num_dims, num_kinds=num_clusters + 5)
        shape = f"{num:,} vectors of {num_dims} dimensions, K = {num_clusters}, starts = {num_starts}"
        for provider, fit in fits(vectors, num_clusters=num_clusters, num_starts=num_starts).items():
            rows += measured(fit, provider=provider, vectors=vectors, shape=shape, num_runs=runs)
    publish(rows, json_path=json)
    typer.echo("\n".join(ratios(rows)))


QUICK = ("--sizes", "1", "--runs", "1")

if __name__ == "__main__":
    run(main, quick=QUICK)
