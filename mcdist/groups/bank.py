"""Bank: exact nearest neighbours of queries among keys, in an index that is filled piece by piece or in passes over keys that never are in memory."""

from collections.abc import Iterable
from typing import Literal

import numpy
from jaxtyping import Float32, Int

from mcdist.groups.clustering.faiss_library import faiss_threads, load_faiss

Metric = Literal["cosine", "l2"]
"""cosine: the inner product of vectors that are unit already, the largest first. l2: the squared Euclidean distance, the smallest first."""

HALF_BYTES = 2**31
"""Keys that would take more than this in float32 are kept in float16."""


class Bank:
    """Unit keys to be searched by inner product. At most `capacity` keys are expected, which decides whether they are kept in half precision."""

    def __init__(self, num_dims: int, *, capacity: int) -> None:
        """Raises MissingExtraError where no FAISS is installed."""
        faiss = load_faiss()
        self.half = capacity * num_dims * 4 > HALF_BYTES
        self._faiss, self._num_dims = faiss, num_dims
        self._index = (
            faiss.IndexScalarQuantizer(num_dims, faiss.ScalarQuantizer.QT_fp16, faiss.METRIC_INNER_PRODUCT) if self.half else faiss.IndexFlatIP(num_dims)
        )

    def __len__(self) -> int:
        return int(self._index.ntotal)

    def add(self, keys: Float32[numpy.ndarray, "N D"]) -> None:
        """Keys of length 1; their rows are counted on from those before."""
        self._index.add(numpy.ascontiguousarray(keys, dtype=numpy.float32))

    def nearest(self, queries: Float32[numpy.ndarray, "Q D"], *, num: int) -> tuple[Float32[numpy.ndarray, "Q k"], Int[numpy.ndarray, "Q k"]]:
        """(inner products, rows) of the k = min(num, keys) nearest keys of each query, nearest first."""
        with faiss_threads(self._faiss, num_products=queries.size * max(1, len(self))):
            return self._index.search(numpy.ascontiguousarray(queries, dtype=numpy.float32), min(num, len(self)))


def nearest_of_blocks(
    queries: Float32[numpy.ndarray, "Q D"], *, blocks: Iterable[Float32[numpy.ndarray, "_ D"]], num: int, metric: Metric
) -> tuple[Float32[numpy.ndarray, "Q k"], Int[numpy.ndarray, "Q k"]]:
    """(values, rows) of the `num` nearest keys of each query, nearest first, rows counted over all blocks; of equal ones the lower row is first.

    One pass over the keys; memory: the queries, one block, and the best so far. With fewer keys than `num`, all of them.
    """
    faiss = load_faiss()
    order = -1.0 if metric == "cosine" else 1.0
    kind = faiss.METRIC_INNER_PRODUCT if metric == "cosine" else faiss.METRIC_L2
    best, rows, before = numpy.zeros((len(queries), 0), dtype=numpy.float32), numpy.zeros((len(queries), 0), dtype=numpy.int64), 0
    for block in blocks:
        with faiss_threads(faiss, num_products=queries.size * len(block)):
            values, near = faiss.knn(queries, numpy.ascontiguousarray(block), min(num, len(block)), metric=kind)
        best, rows = numpy.concatenate([best, order * values], axis=1), numpy.concatenate([rows, near + before], axis=1)
        kept = numpy.lexsort((rows, best), axis=1)[:, :num]
        best, rows = numpy.take_along_axis(best, kept, axis=1), numpy.take_along_axis(rows, kept, axis=1)
        before += len(block)
    return order * best, rows
