"""Plan: everything that a K-means draws or chooses before it begins. Both implementations follow the same one."""

from dataclasses import dataclass

import numpy
from jaxtyping import Float32, Float64, Int64

SAMPLE_PER_CLUSTER = 64
"""Vectors a cluster that first centres are drawn from; more take longer and end no lower."""
FIRST_ITERATIONS = 3
"""Of each start; then the better half of them goes on."""
KEPT_SHARE = 2
"""One start in so many goes on."""
RELATIVE_SHIFT = 1e-4
"""A start ends where its centres move by less than this share of the variance, as scikit-learn's tol has it."""
NUM_EXCHANGES = 8
"""Rounds at most in which a start merges clusters and splits others."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """`draws`: numbers in 0..1 for each start, centre and trial of k-means++. `sample`: the rows that first
    centres are drawn from. `first_iterations` of all starts, then `num_kept` go on for `num_iterations` in all, or until they move by `least_shift`."""

    draws: Float64[numpy.ndarray, "S K T"]
    sample: Int64[numpy.ndarray, " M"]
    num_iterations: int
    first_iterations: int
    num_kept: int
    least_shift: float
    num_exchanges: int = NUM_EXCHANGES


def plan_of(vectors: Float32[numpy.ndarray, "N D"], *, num_clusters: int, seed: int, num_starts: int, num_iterations: int) -> Plan:
    """As many trials a centre as scikit-learn has: 2 + log K."""
    random = numpy.random.default_rng(seed)
    num_vectors, num_sampled = len(vectors), min(len(vectors), SAMPLE_PER_CLUSTER * num_clusters)
    return Plan(
        draws=random.random((num_starts, num_clusters, 2 + int(numpy.log(num_clusters)))),
        sample=numpy.sort(random.choice(num_vectors, size=num_sampled, replace=False)),
        num_iterations=num_iterations,
        first_iterations=FIRST_ITERATIONS,
        num_kept=-(-num_starts // KEPT_SHARE),
        least_shift=RELATIVE_SHIFT * float(vectors.var(axis=0, dtype=numpy.float64).mean()),
        num_exchanges=NUM_EXCHANGES,
    )
