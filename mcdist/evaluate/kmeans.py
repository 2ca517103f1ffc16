"""K-means (FAISS): vectors to cluster numbers. The only place that knows FAISS; the same lines run on faiss-cpu and faiss-gpu."""

import importlib.util
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType

import numpy
from jaxtyping import Float, Int

from mcdist.errors import MissingExtraError

NO_FAISS = "clustering needs FAISS, which is not installed; install it with: pip install 'mcdist[faiss-cpu]' (or faiss-gpu)"

NUM_ITERATIONS = 100
NUM_STARTS = 20

ONE_THREAD_PRODUCTS = 2**27
"""Below so many multiplications an iteration, threads cost more than they save: 437 vectors on two busy cores take 7 to 30 times as long with two."""


def kmeans(vectors: Float[numpy.ndarray, "O D"], *, num_clusters: int, seed: int) -> Int[numpy.ndarray, " O"]:
    """Cluster number of each vector: the best of NUM_STARTS random starts, at most NUM_ITERATIONS each, Euclidean, all vectors used.

    The GPU is used where FAISS sees one. The same vectors and seed give the same clusters on one machine. Fewer vectors than clusters: each is
    a cluster of its own; no vectors: none.

    Raises:
        MissingExtraError: no FAISS is installed.
    """
    faiss = _faiss()
    num_vectors, num_dims = vectors.shape
    if num_vectors <= num_clusters:
        return numpy.arange(num_vectors)
    machine = faiss.Kmeans(
        num_dims,
        num_clusters,
        niter=NUM_ITERATIONS,
        nredo=NUM_STARTS,
        seed=seed,
        spherical=False,
        min_points_per_centroid=1,
        max_points_per_centroid=num_vectors,
        gpu=faiss.get_num_gpus() > 0,
    )
    points = numpy.ascontiguousarray(vectors, dtype=numpy.float32)
    with _threads(faiss, one=vectors.size * num_clusters < ONE_THREAD_PRODUCTS):
        machine.train(points)
        return machine.index.search(points, 1)[1][:, 0]


@contextmanager
def _threads(faiss: ModuleType, *, one: bool) -> Iterator[None]:
    before = faiss.omp_get_max_threads()
    faiss.omp_set_num_threads(1 if one else before)
    try:
        yield
    finally:
        faiss.omp_set_num_threads(before)


def require_faiss() -> None:
    """Raises MissingExtraError where FAISS is not installed. Imports nothing, so it can be asked long before clustering."""
    if importlib.util.find_spec("faiss") is None:
        raise MissingExtraError(NO_FAISS)


def _faiss() -> ModuleType:
    try:
        import faiss
    except ImportError as error:
        raise MissingExtraError(NO_FAISS) from error
    return faiss
