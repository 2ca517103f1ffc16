"""Neighbours: for each node its nearest nodes by cosine, exactly, or approximately with a recall that is measured and reported."""

from dataclasses import dataclass, replace

import numpy
from jaxtyping import Float, Int

from mcdist.choices import GraphSearch, require_choice
from mcdist.errors import ConfigError
from mcdist.groups.clustering.faiss_library import faiss_threads, load_faiss
from mcdist.groups.graph.rows import UnitRows

EXACT_NODES_MAX = 30_000
"""With `auto`: above so many nodes the search is approximate. All pairs of 30,000 vectors of 320 take some seconds on two cores."""
NUM_CHECKED = 1_000
"""Nodes whose approximate neighbours are compared with the exact ones."""
EXTRA_MAX = 256
"""Places in a first search that neighbours of the same source may take; who still has too few is searched for exactly."""

LISTS_PER_ROOT = 4.0
PROBED_LISTS = 24
TRAINING_PER_LIST = 40
TRAINING_ITERATIONS = 8
"""FAISS' inverted lists: 4 sqrt(M) of them, the 24 nearest are searched. benchmarks/groups has the recall and the time."""

QUERIES = 512
"""Queries of a block of the exact search without an index."""


@dataclass(frozen=True, slots=True)
class Neighbours:
    """`index [M, k]`: nearest first, -1 where a node has fewer; `cosine [M, k]`, 0 where there is none.

    `method`: exact or approximate. `recall`: share of the true neighbours that were found, over `num_checked` nodes; 1 for an exact search.
    `num_completed`: nodes that the first search left with too few and that were searched for exactly.
    """

    index: Int[numpy.ndarray, "M k"]
    cosine: Float[numpy.ndarray, "M k"]
    method: str
    recall: float = 1.0
    num_checked: int = 0
    num_completed: int = 0

    def nearest(self, num: int) -> "Neighbours":
        """Only the first `num` of each node. The recall stays that of the whole list."""
        return replace(self, index=self.index[:, :num], cosine=self.cosine[:, :num])


def find_neighbours(
    vectors: UnitRows,
    *,
    num_neighbours: int,
    source_of: Int[numpy.ndarray, " M"],
    search: GraphSearch = "auto",
    seed: int = 0,
) -> Neighbours:
    """The `num_neighbours` nearest nodes of each by cosine, itself and those of its own source excluded.

    k = min(num_neighbours, M - 1). A node with fewer than k nodes outside its source has all of them. Equal cosines: the lower number is first;
    which of them are the last of the k is the choice of FAISS. The same vectors and seed give the same neighbours on one machine.

    Cost: exact O(M^2 D); approximate about O(M^1.5 D). Memory: one copy of the vectors in the index, beside blocks and the result.

    Raises:
        ConfigError: num_neighbours < 1, or an unknown `search`.
        MissingExtraError: no FAISS is installed.
    """
    require_choice("search", search, choices=GraphSearch)
    if num_neighbours < 1:
        raise ConfigError(f"the number of neighbours must be at least 1, got {num_neighbours}")
    num_nodes = len(vectors)
    width = min(num_neighbours, num_nodes - 1)
    if width < 1:
        return Neighbours(numpy.full((num_nodes, 0), -1, dtype=numpy.int64), numpy.zeros((num_nodes, 0), dtype=numpy.float32), method="exact")
    approximate = search == "approximate" or (search == "auto" and num_nodes > EXACT_NODES_MAX)
    faiss = load_faiss()
    with faiss_threads(faiss, num_products=num_nodes * num_nodes * vectors.num_dims):
        index = _inverted_lists(vectors, seed=seed) if approximate else _flat(vectors)
        found, cosine, num_completed = _search_all(index, vectors, width=width, source_of=source_of)
    if not approximate:
        return Neighbours(found, cosine, method="exact", num_completed=num_completed)
    checked = numpy.sort(numpy.random.default_rng(seed).choice(num_nodes, size=min(NUM_CHECKED, num_nodes), replace=False))
    truth, _ = exact_neighbours(vectors, queries=checked, width=width, excluded_of=[source_of])
    return Neighbours(found, cosine, method="approximate", recall=recall_of(found[checked], truth=truth), num_checked=len(checked), num_completed=num_completed)


def recall_of(found: Int[numpy.ndarray, "Q k"], *, truth: Int[numpy.ndarray, "Q k"]) -> float:
    """Share of the true neighbours among those found; 1 where there are none to find."""
    hit = (found[:, :, None] == truth[:, None, :]) & (truth >= 0)[:, None, :]
    return float(hit.sum() / max(1, (truth >= 0).sum())) if (truth >= 0).any() else 1.0


def exact_neighbours(
    vectors: UnitRows,
    *,
    queries: Int[numpy.ndarray, " Q"],
    width: int,
    excluded_of: list[Int[numpy.ndarray, " M"]],
) -> tuple[Int[numpy.ndarray, "Q k"], Float[numpy.ndarray, "Q k"]]:
    """(index, cosine) of the nearest nodes that share no number of `excluded_of` with the query, by comparing with all: O(Q M D), in blocks."""
    index = numpy.full((len(queries), width), -1, dtype=numpy.int64)
    cosine = numpy.full((len(queries), width), -numpy.inf, dtype=numpy.float32)
    blocks = vectors.blocks()
    for start in range(0, len(queries), QUERIES):
        here = slice(start, start + QUERIES)
        asking = vectors.take(queries[here])
        for block in blocks:
            similar = asking @ vectors.take(block).T
            for numbers in excluded_of:
                similar[numbers[queries[here]][:, None] == numbers[block][None, :]] = -numpy.inf
            _keep_best(index[here], cosine[here], rows=block, similar=similar)
    index[~numpy.isfinite(cosine)] = -1
    cosine[index < 0] = 0
    return index, numpy.clip(cosine, -1, 1)


def _keep_best(index: numpy.ndarray, cosine: numpy.ndarray, *, rows: numpy.ndarray, similar: numpy.ndarray) -> None:
    """Merge a block's similarities into the best so far, in place."""
    width = index.shape[1]
    if len(rows) > width:
        best = numpy.argpartition(-similar, width - 1, axis=1)[:, :width]
        similar, rows = numpy.take_along_axis(similar, best, axis=1), rows[best]
    else:
        rows = numpy.broadcast_to(rows, similar.shape)
    both, values = numpy.concatenate([index, rows], axis=1), numpy.concatenate([cosine, similar], axis=1)
    order = numpy.lexsort((both, -values), axis=1)[:, :width]
    index[:], cosine[:] = numpy.take_along_axis(both, order, axis=1), numpy.take_along_axis(values, order, axis=1)


def _flat(vectors: UnitRows) -> object:
    faiss = load_faiss()
    index = faiss.IndexFlatIP(vectors.num_dims)
    for block in vectors.blocks():
        index.add(vectors.take(block))
    return index


def _inverted_lists(vectors: UnitRows, *, seed: int) -> object:
    """FAISS' IndexIVFFlat, trained on a sample."""
    faiss = load_faiss()
    num_nodes = len(vectors)
    num_lists = max(1, min(int(LISTS_PER_ROOT * num_nodes**0.5), num_nodes // TRAINING_PER_LIST))
    sample = numpy.sort(numpy.random.default_rng(seed).choice(num_nodes, size=min(num_nodes, num_lists * TRAINING_PER_LIST), replace=False))
    coarse = faiss.IndexFlatIP(vectors.num_dims)
    index = faiss.IndexIVFFlat(coarse, vectors.num_dims, num_lists, faiss.METRIC_INNER_PRODUCT)
    index.cp.seed, index.cp.niter, index.cp.min_points_per_centroid, index.cp.spherical = seed, TRAINING_ITERATIONS, 1, True
    index.nprobe = min(PROBED_LISTS, num_lists)
    index.train(numpy.concatenate([vectors.take(block) for block in vectors.blocks(sample)]))
    for block in vectors.blocks():
        index.add(vectors.take(block))
    return index


def _search_all(
    index: object, vectors: UnitRows, *, width: int, source_of: Int[numpy.ndarray, " M"]
) -> tuple[Int[numpy.ndarray, "M k"], Float[numpy.ndarray, "M k"], int]:
    """(index, cosine, nodes completed by comparing with all). Each node asks for as many more as its own source may take of the places."""
    num_nodes = len(vectors)
    sizes = numpy.bincount(source_of)[source_of]
    extra = numpy.minimum(2 ** numpy.ceil(numpy.log2(sizes)).astype(numpy.int64), EXTRA_MAX)
    asked = numpy.minimum(width + extra, num_nodes)
    found = numpy.full((num_nodes, width), -1, dtype=numpy.int64)
    cosine = numpy.zeros((num_nodes, width), dtype=numpy.float32)
    for number in numpy.unique(asked).tolist():
        for rows in vectors.blocks(numpy.flatnonzero((asked == number) & (sizes < num_nodes))):
            values, near = index.search(vectors.take(rows), number)  # type: ignore[attr-defined]
            allowed = (near >= 0) & (source_of[near] != source_of[rows][:, None])
            values = numpy.where(allowed, numpy.clip(values, -1, 1), -numpy.inf)
            order = numpy.lexsort((near, -values), axis=1)[:, :width]
            near, values = numpy.take_along_axis(near, order, axis=1), numpy.take_along_axis(values, order, axis=1)
            found[rows], cosine[rows] = numpy.where(numpy.isfinite(values), near, -1), numpy.where(numpy.isfinite(values), values, 0)
    short = numpy.flatnonzero((found >= 0).sum(axis=1) < numpy.minimum(width, num_nodes - sizes))
    if len(short):
        found[short], cosine[short] = exact_neighbours(vectors, queries=short, width=width, excluded_of=[source_of])
    return found, cosine, len(short)
