"""Blocks: K-means over vectors that are read in blocks, as often as it takes. Memory holds the centres and one block, however many vectors there are."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy
from jaxtyping import Float, Float32, Int

from mcdist.errors import DataError
from mcdist.groups.clustering.faiss_library import faiss_threads, load_faiss
from mcdist.groups.clustering.kmeans import Centres

Blocks = Callable[[], Iterator[Float32[numpy.ndarray, "B D"]]]
"""Gives the same blocks each time it is called."""

SPLIT = 1 / 1024
"""An empty cluster becomes half of the largest one: their centres are that centre, moved this share up and down by turns, as FAISS does it."""


@dataclass(slots=True)
class _Start:
    """One random start: its centres, the objective of the pass before, and whether an empty cluster was refilled since, which may raise it."""

    centres: Float32[numpy.ndarray, "K D"]
    objective: float = numpy.inf
    refilled: bool = False
    settled: bool = False


def fit_centres_of_blocks(blocks: Blocks, *, num_clusters: int, seed: int, num_starts: int, num_iterations: int) -> Centres:
    """The centres of the best of `num_starts` random starts, of all vectors of all blocks, each start at most `num_iterations` passes of Lloyd's method.

    A start begins at vectors drawn without replacement and ends early where a pass no longer lowers its objective, which no later pass would. All starts
    share each pass over the blocks. Sums are float64, so the blocks' sizes change rounding only. More vectors than clusters are needed.

    Raises:
        DataError: fewer vectors than clusters.
        MissingExtraError: no FAISS is installed.
    """
    starts = [_Start(centres) for centres in _drawn_centres(blocks, num_clusters=num_clusters, seed=seed, num_starts=num_starts)]
    for _ in range(num_iterations):
        running = [start for start in starts if not start.settled]
        if not running:
            break
        for start, own in zip(running, _passed(blocks, starts=running), strict=True):
            start.settled = own.objective >= start.objective and not start.refilled
            if not start.settled:
                start.objective, start.centres, start.refilled = own.objective, _moved(own.sums, sizes=own.sizes), bool((own.sizes == 0).any())
    last = _passed(blocks, starts=starts)
    best = min(range(num_starts), key=lambda place: last[place].objective)
    return Centres(centres=starts[best].centres, objective=last[best].objective)


@dataclass(slots=True)
class _Pass:
    """What one pass found: the sum of the vectors of each cluster, their number, and the sum of squared distances."""

    sums: Float[numpy.ndarray, "K D"]
    sizes: Int[numpy.ndarray, " K"]
    objective: float = 0.0


def _passed(blocks: Blocks, *, starts: list[_Start]) -> list[_Pass]:
    """All starts in one pass."""
    found = [_Pass(numpy.zeros(start.centres.shape), numpy.zeros(len(start.centres), dtype=numpy.int64)) for start in starts]
    faiss = load_faiss()
    for block in blocks():
        for start, own in zip(starts, found, strict=True):
            with faiss_threads(faiss, num_products=block.size * len(start.centres)):
                distance, cluster = faiss.knn(block, start.centres, 1)
            own.sums += _sums(block, cluster=cluster[:, 0], num_clusters=len(start.centres))
            own.sizes += numpy.bincount(cluster[:, 0], minlength=len(start.centres))
            own.objective += float(distance.sum(dtype=numpy.float64))
    return found


def _sums(block: Float32[numpy.ndarray, "B D"], *, cluster: Int[numpy.ndarray, " B"], num_clusters: int) -> Float[numpy.ndarray, "K D"]:
    """Sum of the vectors of each cluster: the vectors in order of cluster, added up between the borders."""
    order = numpy.argsort(cluster, kind="stable")
    present, first = numpy.unique(cluster[order], return_index=True)
    sums = numpy.zeros((num_clusters, block.shape[1]))
    sums[present] = numpy.add.reduceat(block[order].astype(numpy.float64), first, axis=0)
    return sums


def _moved(sums: Float[numpy.ndarray, "K D"], *, sizes: Int[numpy.ndarray, " K"]) -> Float32[numpy.ndarray, "K D"]:
    """The means of the clusters; each empty one takes half of the largest."""
    means = sums / numpy.maximum(sizes, 1)[:, None]
    left = sizes.copy()
    signs = numpy.where(numpy.arange(means.shape[1]) % 2 == 0, 1.0, -1.0)
    for empty in numpy.flatnonzero(sizes == 0):
        largest = int(left.argmax())
        means[empty] = means[largest] * (1 + SPLIT * signs)
        means[largest] = means[largest] * (1 - SPLIT * signs)
        left[empty] = left[largest] // 2
        left[largest] -= left[empty]
    return means.astype(numpy.float32)


def _drawn_centres(blocks: Blocks, *, num_clusters: int, seed: int, num_starts: int) -> list[Float32[numpy.ndarray, "K D"]]:
    """For each start, vectors drawn without replacement in one pass: of random numbers, one a vector, those with the lowest."""
    randoms = [numpy.random.default_rng([seed, start]) for start in range(num_starts)]
    kept: list[tuple[numpy.ndarray, numpy.ndarray]] = []
    for block in blocks():
        for start, random in enumerate(randoms):
            numbers, rows = random.random(len(block)), block
            if len(kept) > start:
                numbers, rows = numpy.concatenate([kept[start][0], numbers]), numpy.concatenate([kept[start][1], rows])
            lowest = numpy.argsort(numbers, kind="stable")[:num_clusters]
            pair = (numbers[lowest], rows[lowest].copy())
            kept[start : start + 1] = [pair]
    if not kept or len(kept[0][0]) < num_clusters:
        raise DataError(f"{num_clusters} clusters need at least as many vectors, got {len(kept[0][0]) if kept else 0}; ask for fewer clusters")
    return [rows for _, rows in kept]
