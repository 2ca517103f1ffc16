"""How long does mcdist's K-means (FAISS) take beside scikit-learn's KMeans, and whose inertia is lower?

    OMP_NUM_THREADS=1 python -m benchmarks.metrics.kmeans --json benchmarks/metrics/results/kmeans.json

Vectors are generated: kinds that overlap. Both take the same number of starts and at most 100 iterations each; scikit-learn once as it comes (k-means++)
and once with the random starts that FAISS has. The inertia of both is counted here, in float64, from their centres.
"""

import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Annotated

import numpy
import torch
import typer

from benchmarks.harness.command import run
from benchmarks.harness.measurement import Measurement, measurement, publish
from mcdist.groups.clustering.kmeans import NUM_ITERATIONS, fit_centres, nearest_centres

SHAPES = ((1_449, 32, 20, 20), (10_582, 32, 21, 20), (50_000, 50, 300, 1))
"""(vectors, dimensions, clusters, starts): objects of VOC val, of trainaug, and patches to be overclustered."""
SPREAD = 1.0

Fit = Callable[[], numpy.ndarray]


def make_vectors(num: int, *, num_dims: int, num_kinds: int) -> numpy.ndarray:
    """Gaussian kinds around Gaussian centres."""
    random = numpy.random.default_rng(0)
    centres = random.standard_normal((num_kinds, num_dims))
    return (centres[random.integers(num_kinds, size=num)] + SPREAD * random.standard_normal((num, num_dims))).astype(numpy.float32)


def fits(vectors: numpy.ndarray, *, num_clusters: int, num_starts: int) -> dict[str, Fit]:
    """What finds centres, by name."""
    from sklearn.cluster import KMeans

    def learnt(init: str) -> numpy.ndarray:
        return KMeans(num_clusters, init=init, n_init=num_starts, max_iter=NUM_ITERATIONS, random_state=0).fit(vectors).cluster_centers_

    return {
        "mcdist (FAISS)": lambda: fit_centres(vectors, num_clusters=num_clusters, seed=0, num_starts=num_starts).centres,
        "scikit-learn, k-means++": lambda: learnt("k-means++"),
        "scikit-learn, random": lambda: learnt("random"),
    }


def inertia(vectors: numpy.ndarray, *, centres: numpy.ndarray) -> float:
    """Sum of squared distances to the nearest centre."""
    nearest = nearest_centres(vectors, centres=centres.astype(numpy.float32), num=1)[1][:, 0]
    return float(((vectors.astype(numpy.float64) - centres[nearest]) ** 2).sum())


def measured(fit: Fit, *, provider: str, vectors: numpy.ndarray, shape: str, num_runs: int) -> list[Measurement]:
    """Wall time, processor time and inertia."""
    wall_ms, cpu_ms = [], []
    centres = fit()
    for _ in range(num_runs):
        began, began_cpu = time.perf_counter(), time.process_time()
        centres = fit()
        wall_ms.append(1000 * (time.perf_counter() - began))
        cpu_ms.append(1000 * (time.process_time() - began_cpu))
    row = partial(measurement, benchmark="kmeans", provider=provider, mode="fit", shape=shape, device=torch.device("cpu"))
    return [
        row(wall_ms, metric="time", unit="ms"),
        row(cpu_ms, metric="processor time", unit="ms"),
        row([inertia(vectors, centres=centres) / len(vectors)], metric="inertia a vector", unit="1"),
    ]


def main(
    sizes: Annotated[int, typer.Option(min=1, max=len(SHAPES), help="Only the first so many of the sizes.")] = len(SHAPES),
    runs: Annotated[int, typer.Option(min=1, help="Timed fits of each.")] = 3,
    json: Annotated[Path | None, typer.Option(help="Write all rows to this file.")] = None,
) -> None:
    """Time and inertia of K-means, by FAISS and by scikit-learn."""
    rows = []
    for num, num_dims, num_clusters, num_starts in SHAPES[:sizes]:
        vectors = make_vectors(num, num_dims=num_dims, num_kinds=num_clusters + 5)
        shape = f"{num:,} vectors of {num_dims} dimensions, K = {num_clusters}, starts = {num_starts}"
        for provider, fit in fits(vectors, num_clusters=num_clusters, num_starts=num_starts).items():
            rows += measured(fit, provider=provider, vectors=vectors, shape=shape, num_runs=runs)
    publish(rows, json_path=json)


QUICK = ("--sizes", "1", "--runs", "1")

if __name__ == "__main__":
    run(main, quick=QUICK)
