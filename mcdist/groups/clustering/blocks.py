"""Blocks: K-means over vectors that are read in blocks, as often as it takes, by one process or by several ranks that each read their own.

Memory holds the centres and one block, however many vectors there are, and every vector counts. All sums are of integers (fixed point), which come out the
same in any order: the same blocks give the same centres, bit for bit, on any number of ranks.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy
import torch
from jaxtyping import Float, Float32, Int, Int64

from mcdist.distributed import World
from mcdist.errors import DataError
from mcdist.groups.clustering.kmeans import Centres, nearest_centres

Blocks = Callable[[], Iterator[Float32[numpy.ndarray, "B D"]]]
"""Gives the same blocks each time it is called."""

SPLIT = 1 / 1024
"""An empty cluster becomes half of the largest one: their centres are that centre, moved this share up and down by turns, as FAISS does it."""
SUM_BITS = 61
"""Of the largest sum in fixed point: an int64 never overflows."""
MOST_BITS = 40
"""Behind the point; more than a float32 of length 1 has."""
_LAST = numpy.iinfo(numpy.int64).max
"""The number of a row that is not there."""


@dataclass(slots=True)
class _Start:
    """One random start: its centres, the objective of the pass before, and whether an empty cluster was refilled since, which may raise it."""

    centres: Float32[numpy.ndarray, "K D"]
    objective: float = numpy.inf
    refilled: bool = False
    settled: bool = False


@dataclass(frozen=True, slots=True)
class _Survey:
    """What one pass says of the vectors: how many there are on all ranks, the row of this rank's first one, and the largest value."""

    num_vectors: int
    first_row: int
    largest: float

    def scale(self, *, largest: float) -> float:
        """Of fixed point: the power of two that so large values may be multiplied by before all of them are added up."""
        bits = SUM_BITS - numpy.ceil(numpy.log2(max(largest, 1e-30))) - numpy.ceil(numpy.log2(max(self.num_vectors, 1)))
        return float(2.0 ** min(bits, MOST_BITS))


def fit_centres_of_blocks(
    blocks: Blocks, *, num_clusters: int, seed: int, num_starts: int, num_iterations: int, spherical: bool = False, world: World | None = None
) -> Centres:
    """The centres of the best of `num_starts` random starts, of all vectors of all blocks, each start at most `num_iterations` passes of Lloyd's method.

    A start begins at vectors drawn without replacement and ends early where a pass no longer lowers its objective, which no later pass would. All starts
    share each pass over the blocks. The same seed gives the same centres, whatever rank reads which block; the size of the blocks changes rounding only.

    Args:
        blocks: this rank's vectors; the ranks' vectors are counted on from rank to rank. Every block's width is the same.
        spherical: centres have length 1, for vectors of length 1: the mean direction.
        world: the ranks that share the work, all of which call this; None for this process alone.

    Cost: a pass reads every vector once and multiplies it with every centre; one exchange of `num_starts * num_clusters * (D + 1)` integers.

    Raises:
        DataError: fewer vectors than clusters, on all ranks together, or a value that is not finite.
        MissingExtraError: no FAISS is installed.
    """
    survey = _survey(blocks, world=world)
    if survey.num_vectors < num_clusters:
        raise DataError(f"{num_clusters} clusters need at least as many vectors, got {survey.num_vectors}; ask for fewer clusters")
    drawn = _drawn_centres(blocks, survey=survey, num_clusters=num_clusters, seed=seed, num_starts=num_starts, world=world)
    starts = [_Start(centres) for centres in drawn]
    for _ in range(num_iterations):
        running = [start for start in starts if not start.settled]
        if not running:
            break
        for start, own in zip(running, _passed(blocks, starts=running, survey=survey, world=world), strict=True):
            start.settled = own.objective >= start.objective and not start.refilled
            if not start.settled:
                moved = _moved(own.sums, sizes=own.sizes)
                start.objective, start.centres, start.refilled = own.objective, _unit(moved) if spherical else moved, bool((own.sizes == 0).any())
    last = _passed(blocks, starts=starts, survey=survey, world=world)
    best = min(range(num_starts), key=lambda place: last[place].objective)
    return Centres(centres=starts[best].centres, objective=last[best].objective)


def _survey(blocks: Blocks, *, world: World | None) -> _Survey:
    num_here, largest = 0, 0.0
    for block in blocks():
        most = float(numpy.abs(block).max(initial=0))
        if not numpy.isfinite(most):
            raise DataError("a vector to be clustered is not finite; extract the features again")
        num_here, largest = num_here + len(block), max(largest, most)
    if world is None or world.num_ranks == 1:
        return _Survey(num_here, 0, largest)
    numbers, mosts = world.gather_rows(torch.tensor([num_here], device=world.device), torch.tensor([largest], dtype=torch.float64, device=world.device))
    return _Survey(int(numbers.sum()), int(numbers[: world.rank].sum()), float(mosts.max()))


@dataclass(frozen=True, slots=True)
class _Pass:
    """What one pass found: the sum of the vectors of each cluster, their number, and the sum of squared distances."""

    sums: Float[numpy.ndarray, "K D"]
    sizes: Int[numpy.ndarray, " K"]
    objective: float


def _passed(blocks: Blocks, *, starts: list[_Start], survey: _Survey, world: World | None) -> list[_Pass]:
    """All starts in one pass over the vectors of all ranks."""
    num_clusters, num_dims = starts[0].centres.shape
    reach = survey.largest + max(float(numpy.abs(start.centres).max()) for start in starts)
    scale, far_scale = survey.scale(largest=survey.largest), survey.scale(largest=num_dims * reach**2)
    sums = numpy.zeros((len(starts), num_clusters, num_dims + 1), dtype=numpy.int64)
    far = numpy.zeros(len(starts), dtype=numpy.int64)
    for block in blocks():
        fixed = _fixed(block, scale=scale)
        for place, start in enumerate(starts):
            distance, cluster = nearest_centres(block, centres=start.centres, num=1)
            _add_sums(sums[place], fixed, cluster=cluster[:, 0])
            far[place] += _fixed(distance, scale=far_scale).sum()
    sums, far = _over_ranks(sums, world=world), _over_ranks(far, world=world)
    return [_Pass(sums[place, :, :-1] / scale, sizes=sums[place, :, -1], objective=float(far[place]) / far_scale) for place in range(len(starts))]


def _add_sums(sums: Int64[numpy.ndarray, "K D1"], fixed: Int64[numpy.ndarray, "B D"], *, cluster: Int[numpy.ndarray, " B"]) -> None:
    """Add to each cluster's row its vectors' sum and, last, their number: the vectors in order of cluster, added up between the borders."""
    order = numpy.argsort(cluster, kind="stable")
    present, first, sizes = numpy.unique(cluster[order], return_index=True, return_counts=True)
    sums[present, :-1] += numpy.add.reduceat(fixed[order], first, axis=0) if len(first) else 0
    sums[present, -1] += sizes


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


def _unit(centres: Float32[numpy.ndarray, "K D"]) -> Float32[numpy.ndarray, "K D"]:
    """Of length 1; a centre without a direction stays as it is."""
    lengths = numpy.linalg.norm(centres.astype(numpy.float64), axis=1, keepdims=True)
    return (centres / numpy.where(lengths > 0, lengths, 1)).astype(numpy.float32)


def _drawn_centres(
    blocks: Blocks, *, survey: _Survey, num_clusters: int, seed: int, num_starts: int, world: World | None
) -> list[Float32[numpy.ndarray, "K D"]]:
    """For each start, vectors drawn without replacement in one pass: each row has a random number of its own, and those with the lowest are taken."""
    kept: list[tuple[Int64[numpy.ndarray, " k"], Float32[numpy.ndarray, "k D"]] | None] = [None] * num_starts
    row = survey.first_row
    for block in blocks():
        for start, before in enumerate(kept):
            numbers, rows = _numbers(row, num=len(block), seed=seed, start=start), block
            if before is not None:
                numbers, rows = numpy.concatenate([before[0], numbers]), numpy.concatenate([before[1], rows])
            kept[start] = _lowest(numbers, rows=rows, num=num_clusters)
        row += len(block)
    return [_drawn_by_all(pair, num=num_clusters, world=world) for pair in kept]


def _drawn_by_all(
    pair: tuple[Int64[numpy.ndarray, " k"], Float32[numpy.ndarray, "k D"]] | None, *, num: int, world: World | None
) -> Float32[numpy.ndarray, "K D"]:
    """Of what each rank drew, the lowest of all; the same on all ranks."""
    if world is None or world.num_ranks == 1:
        assert pair is not None  # there are more vectors than clusters
        return pair[1]
    num_dims = max(int(text) for text in world.gather_texts([] if pair is None else [str(pair[1].shape[1])]))
    numbers, rows = numpy.full(num, _LAST), numpy.zeros((num, num_dims), dtype=numpy.float32)
    if pair is not None:
        numbers[: len(pair[0])], rows[: len(pair[0])] = pair
    gathered = world.gather_rows(torch.from_numpy(numbers).to(world.device), torch.from_numpy(rows).to(world.device))
    return _lowest(gathered[0].cpu().numpy(), rows=gathered[1].cpu().numpy(), num=num)[1]


def _lowest(
    numbers: Int64[numpy.ndarray, " N"], *, rows: Float32[numpy.ndarray, "N D"], num: int
) -> tuple[Int64[numpy.ndarray, " k"], Float32[numpy.ndarray, "k D"]]:
    lowest = numpy.argsort(numbers, kind="stable")[:num]
    return numbers[lowest], rows[lowest].copy()


def _numbers(first_row: int, *, num: int, seed: int, start: int) -> Int64[numpy.ndarray, " num"]:
    """A random number >= 0 for each of `num` rows, which follows from the row alone (SplitMix64, Steele et al. 2014), so any rank may draw it."""
    key = numpy.random.SeedSequence([seed, start]).generate_state(1, numpy.uint64)[0]
    with numpy.errstate(over="ignore"):
        mixed = (numpy.arange(first_row + 1, first_row + num + 1, dtype=numpy.uint64)) * numpy.uint64(0x9E3779B97F4A7C15) + key
        mixed = (mixed ^ (mixed >> numpy.uint64(30))) * numpy.uint64(0xBF58476D1CE4E5B9)
        mixed = (mixed ^ (mixed >> numpy.uint64(27))) * numpy.uint64(0x94D049BB133111EB)
    return ((mixed ^ (mixed >> numpy.uint64(31))) >> numpy.uint64(1)).astype(numpy.int64)


def _fixed(values: Float32[numpy.ndarray, "..."], *, scale: float) -> Int64[numpy.ndarray, "..."]:
    return numpy.rint(values.astype(numpy.float64) * scale).astype(numpy.int64)


def _over_ranks(values: Int64[numpy.ndarray, "..."], *, world: World | None) -> Int64[numpy.ndarray, "..."]:
    return values if world is None else world.sum_counts(values)
