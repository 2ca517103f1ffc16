"""Affinity: neighbours to a symmetric sparse graph, and the graph normalised by its degrees."""

from typing import Any

import numpy
import scipy.sparse
from jaxtyping import Float

from mcdist.choices import GraphSymmetry, require_choice
from mcdist.errors import ConfigError
from mcdist.groups.graph.neighbours import Neighbours

Sparse = Any
"""scipy.sparse.csr_array of float64 [M, M]; scipy's stubs have no shape to check."""


def affinity(neighbours: Neighbours, *, tau: float, symmetry: GraphSymmetry = "maximum") -> Sparse:
    """w_ij = exp((cos_ij - 1) / tau) where j is a neighbour of i, made symmetric.

    `maximum`: an edge where either is a neighbour of the other, with the larger weight. `mutual`: only where each is a neighbour of the other, with
    the smaller weight. The diagonal is empty. A weight that underflows to 0 is no edge.

    Raises:
        ConfigError: tau <= 0, or an unknown symmetry.
    """
    require_choice("symmetry", symmetry, choices=GraphSymmetry)
    if not (tau > 0 and numpy.isfinite(tau)):
        raise ConfigError(f"tau must be a number > 0, got {tau}")
    num_nodes = len(neighbours.index)
    rows, places = numpy.nonzero(neighbours.index >= 0)
    columns = neighbours.index[rows, places]
    directed = _sparse(rows, columns, weights=weight_of(neighbours.cosine[rows, places], tau=tau), num_nodes=num_nodes)
    graph = directed.maximum(directed.T) if symmetry == "maximum" else directed.minimum(directed.T)
    return _tidy(graph)


def weight_of(cosine: Float[numpy.ndarray, " E"], *, tau: float) -> Float[numpy.ndarray, " E"]:
    """exp((cos - 1) / tau) in float64: 1 for equal directions."""
    return numpy.exp((numpy.clip(cosine.astype(numpy.float64), -1, 1) - 1) / tau)


def mean_affinity(graphs: list[Sparse]) -> Sparse:
    """The average of several graphs of the same nodes."""
    total = graphs[0]
    for graph in graphs[1:]:
        total = total + graph
    return _tidy(total / len(graphs))


def reweighted(graph: Sparse, *, rows: numpy.ndarray, columns: numpy.ndarray, weights: numpy.ndarray) -> Sparse:
    """The edges (rows, columns) of `graph` with other weights; a weight of 0 is no edge."""
    return _tidy(scipy.sparse.csr_array((weights, (rows, columns)), shape=graph.shape))


def with_edges(graph: Sparse, *, rows: numpy.ndarray, columns: numpy.ndarray, weights: numpy.ndarray) -> Sparse:
    """The graph and some more edges, each in both directions; the larger weight where there is one already."""
    added = _sparse(rows, columns, weights=weights, num_nodes=graph.shape[0])
    return _tidy(graph.maximum(added.maximum(added.T)))


def normalised(graph: Sparse) -> Sparse:
    """D^-1/2 W D^-1/2, whose eigenvalues are in [-1, 1]. A node without edges keeps an empty row."""
    degree = numpy.asarray(graph.sum(axis=1)).ravel()
    scale = numpy.where(degree > 0, 1 / numpy.sqrt(numpy.where(degree > 0, degree, 1)), 0)
    coordinates = graph.tocoo()
    weights = coordinates.data * scale[coordinates.row] * scale[coordinates.col]
    return scipy.sparse.csr_array((weights, (coordinates.row, coordinates.col)), shape=graph.shape)


def _sparse(rows: numpy.ndarray, columns: numpy.ndarray, *, weights: numpy.ndarray, num_nodes: int) -> Sparse:
    """Of several weights of one place the largest holds."""
    order = numpy.lexsort((-weights, columns, rows))
    rows, columns, weights = rows[order], columns[order], weights[order]
    new = numpy.ones(len(rows), dtype=bool)
    new[1:] = (rows[1:] != rows[:-1]) | (columns[1:] != columns[:-1])
    narrow = numpy.int32 if num_nodes < 2**31 else numpy.int64
    places = (rows[new].astype(narrow), columns[new].astype(narrow))
    return scipy.sparse.csr_array((weights[new], places), shape=(num_nodes, num_nodes))


def _tidy(graph: Sparse) -> Sparse:
    graph = scipy.sparse.csr_array(graph)
    graph.eliminate_zeros()
    graph.sort_indices()
    return graph
