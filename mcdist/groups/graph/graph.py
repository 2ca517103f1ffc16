"""Graph: nodes to one connected, normalised graph, for each number of neighbours that is asked for, from one search."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy
from jaxtyping import Int

from mcdist.groups.graph.affinity import Sparse, affinity, mean_affinity, normalised
from mcdist.groups.graph.bridges import bridge
from mcdist.groups.graph.neighbours import Neighbours, find_neighbours
from mcdist.groups.graph.rows import UnitRows
from mcdist.groups.settings import GroupSettings


@dataclass(frozen=True, slots=True)
class ObjectGraph:
    """`matrix`: D^-1/2 W D^-1/2 of `num_neighbours`. `num_pieces` before bridges, `num_left` after; `num_isolated`: nodes without an edge."""

    num_neighbours: int
    matrix: Sparse
    num_edges: int
    num_pieces: int
    num_bridges: int
    num_left: int
    num_isolated: int


def search_views(vectors: UnitRows, *, source_of: Int[numpy.ndarray, " M"], settings: GroupSettings) -> list[Neighbours]:
    """The neighbours of all nodes in each view, as many as the largest k."""
    return [
        find_neighbours(vectors.alone(view), num_neighbours=max(settings.neighbours), source_of=source_of, search=settings.search, seed=settings.seed)
        for view in range(len(vectors.sources))
    ]


def graphs_of(lists: list[Neighbours], *, vectors: UnitRows, source_of: Int[numpy.ndarray, " M"], settings: GroupSettings) -> Iterator[ObjectGraph]:
    """One graph after the other, in the order of `settings.neighbours`. Several views: the average of their affinities."""
    for num_neighbours in settings.neighbours:
        shorter = [one.nearest(num_neighbours) for one in lists]
        weights = mean_affinity([affinity(one, tau=settings.tau, symmetry=settings.symmetry) for one in shorter])
        yield graph_of(weights, num_neighbours=num_neighbours, vectors=vectors, lists=shorter, source_of=source_of, tau=settings.tau)


def graph_of(
    weights: Sparse, *, num_neighbours: int, vectors: UnitRows, lists: list[Neighbours], source_of: Int[numpy.ndarray, " M"], tau: float
) -> ObjectGraph:
    """The graph of these weights, its pieces joined by bridges."""
    bridged = bridge(weights, vectors=vectors, lists=lists, source_of=source_of, tau=tau)
    return ObjectGraph(
        num_neighbours=num_neighbours,
        matrix=normalised(bridged.graph),
        num_edges=bridged.graph.nnz // 2,
        num_pieces=bridged.num_pieces,
        num_bridges=bridged.num_bridges,
        num_left=bridged.num_left,
        num_isolated=int((numpy.diff(bridged.graph.indptr) == 0).sum()),
    )
