"""K-means (FAISS): vectors to cluster numbers. The only place that knows FAISS; the same lines run on faiss-cpu and faiss-gpu."""

import numpy
from jaxtyping import Float, Int

from mcdist.errors import MissingExtraError

NUM_ITERATIONS = 100
NUM_STARTS = 20


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
    machine.train(points)
    return machine.index.search(points, 1)[1][:, 0]


def _faiss():  # noqa: ANN202 - the module itself
    try:
        import faiss
    except ImportError as error:
        raise MissingExtraError("clustering wants FAISS, which is not installed; install it with: pip install 'mcdist[faiss-cpu]' (or faiss-gpu)") from error
    return faiss
