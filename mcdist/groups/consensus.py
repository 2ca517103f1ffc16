"""Consensus: one graph from the groups of many. An edge weighs the share of groupings that put both its ends into one group.

Each setting of a graph (the view, k, K) gives other groups, some of them much worse than others, and nothing but labels says which. What most of them
agree on is steadier than any one (evidence accumulation, Fred and Jain 2005, doi:10.1109/TPAMI.2005.113), and its eigengap says how many groups stand out.
"""

from collections.abc import Iterator

import numpy
from jaxtyping import Float, Int

from mcdist.groups.cut import NO_GROUP, cut
from mcdist.groups.graph.affinity import Sparse, affinity, mean_affinity, reweighted
from mcdist.groups.graph.graph import ObjectGraph, graph_of, graphs_of
from mcdist.groups.graph.neighbours import Neighbours
from mcdist.groups.graph.rows import UnitRows
from mcdist.groups.graph.spectrum import leading_spectrum
from mcdist.groups.settings import GroupSettings


def graphs_to_cut(lists: list[Neighbours], *, vectors: UnitRows, source_of: Int[numpy.ndarray, " M"], settings: GroupSettings) -> Iterator[ObjectGraph]:
    """The graphs whose groups are wanted: one for each k, or with `settings.consensus` the one of all their groupings, under the largest k."""
    if not settings.consensus:
        yield from graphs_of(lists, vectors=vectors, source_of=source_of, settings=settings)
        return
    groupings = list(_groupings(lists, vectors=vectors, source_of=source_of, settings=settings))
    edges = mean_affinity([affinity(one, tau=settings.tau, symmetry=settings.symmetry) for one in lists])
    yield graph_of(
        agreeing(edges, groupings=groupings, share_min=settings.consensus_min),
        num_neighbours=max(settings.neighbours),
        vectors=vectors,
        lists=lists,
        source_of=source_of,
        tau=settings.tau,
    )


def agreeing(edges: Sparse, *, groupings: list[Int[numpy.ndarray, " M"]], share_min: float) -> Sparse:
    """The same edges, each with the share of `groupings` that put both its ends into one group; those with less than `share_min` go.

    A grouping in which an end has no group does not speak for the edge. Cost: O(edges) a grouping; no pair without an edge is looked at.
    """
    coordinates = edges.tocoo()
    row, column = coordinates.row, coordinates.col
    votes: Float[numpy.ndarray, " E"] = numpy.zeros(len(row))
    for group in groupings:
        votes += (group[row] == group[column]) & (group[row] != NO_GROUP)
    share = votes / max(len(groupings), 1)
    return reweighted(edges, rows=row, columns=column, weights=numpy.where(share >= share_min, share, 0))


def _groupings(
    lists: list[Neighbours], *, vectors: UnitRows, source_of: Int[numpy.ndarray, " M"], settings: GroupSettings
) -> Iterator[Int[numpy.ndarray, " M"]]:
    """Groups of every view alone, for every k and every K of `settings.consensus`."""
    num_eigenvectors = max(settings.consensus) + max(1, settings.extra_dims)
    for view, found in enumerate(lists):
        for graph in graphs_of([found], vectors=vectors.alone(view), source_of=source_of, settings=settings):
            spectrum = leading_spectrum(graph.matrix, num=num_eigenvectors, seed=settings.seed)
            for num_groups in settings.consensus:
                yield cut(spectrum, num_groups=num_groups, seeds=[settings.seed], extra_dims=settings.extra_dims).group
