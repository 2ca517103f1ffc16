"""The public K-means: its meaning, its checks, and the choice of the implementation that computes it."""

import numpy
from jaxtyping import Float, Float32

from mcdist.ops.kmeans.native import cluster_native
from mcdist.ops.kmeans.plan import plan_of
from mcdist.ops.kmeans.reference import cluster_reference
from mcdist.ops.native import reason_missing


def cluster(
    vectors: Float[numpy.ndarray, "N D"], *, num_clusters: int, seed: int, num_starts: int, num_iterations: int
) -> tuple[Float32[numpy.ndarray, "K D"], float]:
    """Centres with a low sum of squared distances to their vectors, and that sum.

    Each of `num_starts` starts draws its centres by k-means++ and takes some passes of Lloyd's method; the better half goes on until its centres come to
    rest (scikit-learn's tol), then merges clusters that are nearly one and splits others as long as that helps. The best one goes on until no vector moves.
    The same vectors and seed give the same centres on one machine, with any number of threads; all vectors count.

    Args:
        vectors: N >= K of them; computed in float32, less their mean.
        num_iterations: passes of Lloyd's method at most, each time that it runs.

    Raises:
        ValueError: fewer vectors than clusters, or a value that is not finite.
    """
    if len(vectors) < num_clusters:
        raise ValueError(f"{num_clusters} clusters need at least as many vectors, got {len(vectors)}")
    mean = vectors.mean(axis=0, dtype=numpy.float64)
    if not numpy.isfinite(mean).all():
        raise ValueError("vectors to be clustered must be finite, a mean of theirs is not")
    centred = numpy.ascontiguousarray(vectors - mean, dtype=numpy.float32)  # near 0 float32 has digits to spare
    plan = plan_of(centred, num_clusters=num_clusters, seed=seed, num_starts=num_starts, num_iterations=num_iterations)
    find = cluster_reference if reason_missing() else cluster_native
    centres, objective = find(centred, plan=plan)
    return (centres + mean).astype(numpy.float32), objective
