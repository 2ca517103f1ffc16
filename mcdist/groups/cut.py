"""Cut: K-means on the spectral embedding, for several seeds; each node gets a group and how sure that is."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy
from jaxtyping import Float, Int

from mcdist.groups.clustering.agreement import adjusted_rand
from mcdist.groups.clustering.kmeans import Centres, fit_centres, nearest_centres
from mcdist.groups.graph.spectrum import Spectrum

NO_GROUP = -1
NUM_STARTS = 10
NUM_ITERATIONS = 50
FITTED_POINTS_MAX = 20_000
"""Of more rows than these K-means fits its centres to a sample, and all rows go to the nearest centre."""


@dataclass(frozen=True, slots=True)
class Cut:
    """`group [M]`: from 0, the largest first, NO_GROUP for a node without edges. `confidence [M]`: 0 halfway between two groups, 1 at a group's centre.

    `seed_agreement`: mean adjusted Rand index of all pairs of seeds, 1 with one seed.
    """

    group: Int[numpy.ndarray, " M"]
    confidence: Float[numpy.ndarray, " M"]
    seed_agreement: float


def cut(spectrum: Spectrum, *, num_groups: int, seeds: Sequence[int], extra_dims: int = 0) -> Cut:
    """`num_groups` groups of the nodes: K-means on the first num_groups + extra_dims eigenvectors, rows of length 1; the seed of least distortion counts.

    Confidence is 1 - d1 / d2 with the distances to the nearest and the second nearest centre; with one group it is 1. With no more nodes than groups
    each node is a group of its own, and a graph of one node is one group. A node without edges has no group.
    """
    rows = spectrum.embedding(num_dims=num_groups + extra_dims)
    connected = numpy.flatnonzero((rows != 0).any(axis=1)) if len(rows) > 1 else numpy.zeros(len(rows), dtype=numpy.int64)
    group = numpy.full(len(rows), NO_GROUP, dtype=numpy.int32)
    confidence = numpy.zeros(len(rows), dtype=numpy.float32)
    if len(connected) <= num_groups:
        group[connected], confidence[connected] = numpy.arange(len(connected)), 1
        return Cut(group=group, confidence=confidence, seed_agreement=1.0)
    points = numpy.ascontiguousarray(rows[connected])
    fits = [_fit(points, num_groups=num_groups, seed=seed) for seed in seeds]
    found = [nearest_centres(points, centres=fit.centres, num=min(2, num_groups)) for fit in fits]
    best = min(range(len(fits)), key=lambda place: fits[place].objective)
    group[connected] = largest_first(found[best][1][:, 0].astype(numpy.int32), num_groups=num_groups)
    confidence[connected] = _margin(found[best][0])
    pairs = [adjusted_rand(one[1][:, 0], other=other[1][:, 0]) for one, other in combinations(found, 2)]
    return Cut(group=group, confidence=confidence, seed_agreement=float(numpy.mean(pairs)) if pairs else 1.0)


def largest_first(group: Int[numpy.ndarray, " N"], *, num_groups: int) -> Int[numpy.ndarray, " N"]:
    """The same groups, numbered by size; NO_GROUP stays."""
    order = numpy.argsort(-numpy.bincount(group[group >= 0], minlength=num_groups), kind="stable")
    number = numpy.empty(num_groups, dtype=group.dtype)
    number[order] = numpy.arange(num_groups)
    return numpy.where(group >= 0, number[numpy.maximum(group, 0)], NO_GROUP).astype(group.dtype)


def _fit(points: Float[numpy.ndarray, "C d"], *, num_groups: int, seed: int) -> Centres:
    """The objective is per point, so that samples compare."""
    sample = points
    if len(points) > FITTED_POINTS_MAX:
        sample = points[numpy.sort(numpy.random.default_rng(seed).choice(len(points), size=max(FITTED_POINTS_MAX, num_groups + 1), replace=False))]
    fit = fit_centres(sample, num_clusters=num_groups, seed=seed, num_starts=NUM_STARTS, num_iterations=NUM_ITERATIONS)
    return Centres(centres=fit.centres, objective=fit.objective / len(sample))


def _margin(squared: Float[numpy.ndarray, "C n"]) -> Float[numpy.ndarray, " C"]:
    """1 - d1 / d2 of squared distances."""
    if squared.shape[1] < 2:
        return numpy.ones(len(squared), dtype=numpy.float32)
    near, far = numpy.sqrt(numpy.maximum(squared, 0)).T
    return numpy.where(far > 0, 1 - near / numpy.where(far > 0, far, 1), 0).astype(numpy.float32)
