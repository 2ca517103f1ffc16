"""K-means on a CPU, compiled. The operands are checked already; native.cpp does the work. Extra memory: the vectors once, 12 bytes a vector and start."""

import numpy
from jaxtyping import Float32

from mcdist.ops import native
from mcdist.ops.kmeans.plan import Plan


def cluster_native(vectors: Float32[numpy.ndarray, "N D"], *, plan: Plan) -> tuple[Float32[numpy.ndarray, "K D"], float]:
    """(centres, sum of squared distances). As many threads as torch uses; their number changes nothing."""
    num_starts, num_clusters, num_trials = plan.draws.shape
    centres, objective = numpy.empty((num_clusters, vectors.shape[1]), dtype=numpy.float32), numpy.empty(1)
    sample = numpy.ascontiguousarray(vectors[plan.sample])
    native.call(
        "kmeans_float",
        *(native.pointer(array) for array in (numpy.ascontiguousarray(vectors), sample, plan.draws, centres, objective)),
        native.int64s(
            *vectors.shape, num_clusters, num_starts, num_trials, plan.num_iterations, plan.num_exchanges, len(sample), plan.first_iterations, plan.num_kept
        ),
        plan.least_shift,
    )
    return centres, float(objective[0])
