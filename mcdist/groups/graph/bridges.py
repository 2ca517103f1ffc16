"""Bridges: a graph in pieces becomes one, by the most similar pair of nodes of each piece and the rest.

The leading eigenvalue of a graph in c pieces is 1, c times, and its eigenvectors are any c directions: with more pieces than groups the cut would
join pieces at random. A bridge joins a piece to the one it is most similar to, as Isomap's implementations do with their neighbour graphs.
"""

from dataclasses import dataclass

import numpy
from jaxtyping import Float, Int
from scipy.sparse.csgraph import connected_components

from mcdist.groups.graph.affinity import Sparse, weight_of, with_edges
from mcdist.groups.graph.neighbours import Neighbours, exact_neighbours
from mcdist.groups.graph.rows import UnitRows

ASKED_NODES = 32
"""Nodes of a piece, evenly, that look for their nearest node outside where no list of neighbours has one."""


@dataclass(frozen=True, slots=True)
class Edges:
    """Pairs of nodes in different pieces."""

    rows: Int[numpy.ndarray, " E"]
    columns: Int[numpy.ndarray, " E"]
    cosine: Float[numpy.ndarray, " E"]


@dataclass(frozen=True, slots=True)
class Bridged:
    """`num_pieces`: of the graph as it was. `num_bridges`: edges added. `num_left`: pieces that could not be joined, since all others are of their source."""

    graph: Sparse
    num_pieces: int
    num_bridges: int
    num_left: int


def bridge(graph: Sparse, *, vectors: UnitRows, lists: list[Neighbours], source_of: Int[numpy.ndarray, " M"], tau: float) -> Bridged:
    """Join the pieces of a graph: each to the most similar other one, until there is one piece.

    First the lists of neighbours are asked (a mutual graph drops many of their edges), then ASKED_NODES nodes of each piece look at all nodes. A bridge
    weighs exp((cos - 1) / tau), with the mean cosine of the views, and never joins nodes of one source. Deterministic.
    """
    num_pieces, _ = connected_components(graph, directed=False)
    if num_pieces == 1:
        return Bridged(graph=graph, num_pieces=1, num_bridges=0, num_left=1)
    known = _listed(lists)
    num_left, num_bridges = num_pieces, 0
    while num_left > 1:
        _, piece_of = connected_components(graph, directed=False)
        edges = _best_edges(known, piece_of=piece_of, vectors=vectors, source_of=source_of)
        if not len(edges.rows):
            break
        graph = with_edges(graph, rows=edges.rows, columns=edges.columns, weights=weight_of(edges.cosine, tau=tau))
        before, num_left = num_left, connected_components(graph, directed=False)[0]
        if num_left == before:  # the weights underflowed
            break
        num_bridges += len(edges.rows)
    return Bridged(graph=graph, num_pieces=num_pieces, num_bridges=num_bridges, num_left=num_left)


def _listed(lists: list[Neighbours]) -> Edges:
    """All edges of the lists."""
    found = [numpy.nonzero(one.index >= 0) for one in lists]
    return Edges(
        rows=numpy.concatenate([rows for rows, _ in found]),
        columns=numpy.concatenate([one.index[place] for one, place in zip(lists, found, strict=True)]),
        cosine=numpy.concatenate([one.cosine[place] for one, place in zip(lists, found, strict=True)]),
    )


def _best_edges(known: Edges, *, piece_of: Int[numpy.ndarray, " M"], vectors: UnitRows, source_of: Int[numpy.ndarray, " M"]) -> Edges:
    """For each piece its best edge to another one; the largest piece only answers. Each pair once."""
    crossing = piece_of[known.rows] != piece_of[known.columns]
    rows, columns, cosine = known.rows[crossing], known.columns[crossing], known.cosine[crossing]
    rows, columns, cosine = numpy.concatenate([rows, columns]), numpy.concatenate([columns, rows]), numpy.concatenate([cosine, cosine])
    sizes = numpy.bincount(piece_of)
    served = numpy.zeros(len(sizes), dtype=bool)
    served[piece_of[rows]] = True
    served[sizes.argmax()] = True
    asked = _asked_nodes(piece_of, pieces=numpy.flatnonzero(~served))
    index, near = exact_neighbours(vectors, queries=asked, width=1, excluded_of=[source_of, piece_of])
    answered = index[:, 0] >= 0
    rows = numpy.concatenate([rows, asked[answered]])
    columns = numpy.concatenate([columns, index[answered, 0]])
    cosine = numpy.concatenate([cosine, near[answered, 0]])
    order = numpy.lexsort((columns, rows, -cosine, piece_of[rows]))
    best = order[numpy.unique(piece_of[rows[order]], return_index=True)[1]]
    pairs = numpy.stack([numpy.minimum(rows[best], columns[best]), numpy.maximum(rows[best], columns[best])], axis=1)
    once = best[numpy.unique(pairs, axis=0, return_index=True)[1]]
    return Edges(rows=rows[once], columns=columns[once], cosine=cosine[once])


def _asked_nodes(piece_of: Int[numpy.ndarray, " M"], *, pieces: Int[numpy.ndarray, " P"]) -> Int[numpy.ndarray, " Q"]:
    """At most ASKED_NODES of each piece, evenly."""
    by_piece = numpy.argsort(piece_of, kind="stable")
    starts = numpy.searchsorted(piece_of[by_piece], pieces)
    ends = numpy.searchsorted(piece_of[by_piece], pieces, side="right")
    chosen = [
        by_piece[numpy.unique(numpy.linspace(start, end - 1, min(end - start, ASKED_NODES)).round().astype(numpy.int64))]
        for start, end in zip(starts, ends, strict=True)
    ]
    return numpy.sort(numpy.concatenate(chosen)) if chosen else numpy.zeros(0, dtype=numpy.int64)
