"""Spectrum: the leading eigenvectors of a normalised graph, from one decomposition for all numbers of groups, and the embedding that is clustered."""

from dataclasses import dataclass

import numpy
from jaxtyping import Float
from scipy.sparse.linalg import ArpackNoConvergence, eigsh

from mcdist.errors import DataError
from mcdist.groups.graph.affinity import Sparse

DENSE_NODES_MAX = 400
"""Up to so many nodes the whole matrix is decomposed (LAPACK), above only its leading end (ARPACK)."""
TOLERANCE = 1e-6
ITERATIONS_MAX = 3_000


@dataclass(frozen=True, slots=True)
class Spectrum:
    """`values` of the normalised graph from the largest down, and `vectors [M, E]`, one column each, float32."""

    values: Float[numpy.ndarray, " E"]
    vectors: Float[numpy.ndarray, "M E"]

    def embedding(self, *, num_dims: int) -> Float[numpy.ndarray, "M d"]:
        """The first columns, each row of length 1 (Ng, Jordan and Weiss 2001); the row of a node without edges is zero."""
        rows = self.vectors[:, :num_dims]
        lengths = numpy.linalg.norm(rows.astype(numpy.float64), axis=1, keepdims=True)
        return (rows / numpy.where(lengths > 0, lengths, 1)).astype(numpy.float32)

    def eigengap(self, *, num_groups: int) -> float:
        """lambda_K - lambda_K+1, nan where the graph has no K + 1 eigenvalues: large where the graph falls into K groups."""
        return float(self.values[num_groups - 1] - self.values[num_groups]) if 0 < num_groups < len(self.values) else float("nan")

    @property
    def largest_gap(self) -> int:
        """K of the largest eigengap, from 2 on: as many groups stand out; 0 where there are fewer than three eigenvalues."""
        gaps = self.values[1:-1] - self.values[2:]
        return int(gaps.argmax()) + 2 if len(gaps) else 0


def leading_spectrum(graph: Sparse, *, num: int, seed: int = 0) -> Spectrum:
    """The `num` largest eigenvalues, fewer where the graph has fewer nodes, and their eigenvectors; signs are fixed, so a seed gives one result.

    Cost: some hundred products with the graph; memory O(M num).

    Raises:
        DataError: the iteration does not converge.
    """
    num_nodes = graph.shape[0]
    wanted = min(num, num_nodes)
    if num_nodes <= DENSE_NODES_MAX or wanted >= num_nodes - 1:
        values, vectors = numpy.linalg.eigh(graph.toarray())
    else:
        values, vectors = _leading(graph, num=wanted, seed=seed)
    largest_first = numpy.argsort(-values, kind="stable")[:wanted]
    values, vectors = values[largest_first], vectors[:, largest_first]
    empty = numpy.diff(graph.indptr) == 0
    vectors[empty] = 0
    signs = numpy.sign(vectors[numpy.abs(vectors).argmax(axis=0), numpy.arange(wanted)])
    return Spectrum(values=values, vectors=(vectors * numpy.where(signs == 0, 1, signs)).astype(numpy.float32))


def _leading(graph: Sparse, *, num: int, seed: int) -> tuple[numpy.ndarray, numpy.ndarray]:
    start = numpy.random.default_rng(seed).standard_normal(graph.shape[0])
    try:
        return eigsh(graph, k=num, which="LA", v0=start, tol=TOLERANCE, maxiter=ITERATIONS_MAX, ncv=min(graph.shape[0], max(2 * num + 1, 20)))
    except ArpackNoConvergence as error:
        raise DataError(
            f"the eigenvectors of the graph of {graph.shape[0]:,} nodes did not converge in {ITERATIONS_MAX:,} iterations; "
            "give it more neighbours or a larger tau, or ask for fewer groups"
        ) from error
