"""K-means: vectors to cluster numbers. Evaluation clusters object vectors with it, and the object graph its spectral embedding.

By FAISS, which the published numbers are of, or, where it is asked for by name, by our own (`mcdist.ops.kmeans`), which starts at k-means++ and ends lower.
"""

from dataclasses import dataclass

import numpy
from jaxtyping import Float, Int

from mcdist.choices import KmeansMethod
from mcdist.groups.clustering.faiss_library import faiss_threads, load_faiss
from mcdist.ops.kmeans.op import cluster

NUM_ITERATIONS = 100
NUM_STARTS = 20


@dataclass(frozen=True, slots=True)
class Centres:
    """`centres [K, D]` of a clustering, and `objective`, the sum of squared distances of the vectors that it was fitted to."""

    centres: Float[numpy.ndarray, "K D"]
    objective: float


def kmeans(vectors: Float[numpy.ndarray, "O D"], *, num_clusters: int, seed: int, method: KmeansMethod = "faiss") -> Int[numpy.ndarray, " O"]:
    """Cluster number of each vector: the best of NUM_STARTS starts, at most NUM_ITERATIONS each, Euclidean, all vectors used.

    FAISS uses the GPU where it sees one. The same vectors and seed give the same clusters on one machine. Fewer vectors than clusters: each is
    a cluster of its own; no vectors: none.

    Raises:
        MissingExtraError: no FAISS is installed.
    """
    num_vectors = len(vectors)
    if num_vectors <= num_clusters:
        load_faiss()
        return numpy.arange(num_vectors)
    found = fit_centres(vectors, num_clusters=num_clusters, seed=seed, method=method)
    return nearest_centres(vectors, centres=found.centres, num=1)[1][:, 0]


def fit_centres(
    vectors: Float[numpy.ndarray, "O D"],
    *,
    num_clusters: int,
    seed: int,
    num_starts: int = NUM_STARTS,
    num_iterations: int = NUM_ITERATIONS,
    method: KmeansMethod = "faiss",
) -> Centres:
    """The centres of the best of `num_starts` starts, which are random with FAISS. More vectors than clusters are needed."""
    if method == "plus-plus":
        centres, objective = cluster(vectors, num_clusters=num_clusters, seed=seed, num_starts=num_starts, num_iterations=num_iterations)
        return Centres(centres=centres, objective=objective)
    faiss = load_faiss()
    num_vectors, num_dims = vectors.shape
    machine = faiss.Kmeans(
        num_dims,
        num_clusters,
        niter=num_iterations,
        nredo=num_starts,
        seed=seed,
        spherical=False,
        min_points_per_centroid=1,
        max_points_per_centroid=num_vectors,
        gpu=faiss.get_num_gpus() > 0,
    )
    points = numpy.ascontiguousarray(vectors, dtype=numpy.float32)
    with faiss_threads(faiss, num_products=vectors.size * num_clusters):
        objective = machine.train(points)
    return Centres(centres=machine.centroids, objective=float(objective))


def nearest_centres(
    vectors: Float[numpy.ndarray, "O D"], *, centres: Float[numpy.ndarray, "K D"], num: int
) -> tuple[Float[numpy.ndarray, "O num"], Int[numpy.ndarray, "O num"]]:
    """(squared distances, numbers) of the `num` nearest centres of each vector, nearest first."""
    faiss = load_faiss()
    index = faiss.IndexFlatL2(centres.shape[1])
    if faiss.get_num_gpus() > 0:
        index = faiss.index_cpu_to_all_gpus(index)
    index.add(numpy.ascontiguousarray(centres, dtype=numpy.float32))
    with faiss_threads(faiss, num_products=vectors.size * len(centres)):
        return index.search(numpy.ascontiguousarray(vectors, dtype=numpy.float32), num)
