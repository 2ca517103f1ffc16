"""Silhouette: how clear clusters are, without ground truth."""

import numpy
import torch
from jaxtyping import Float, Int

SILHOUETTE_OBJECTS = 2000
"""The silhouette compares all pairs, so of more objects it takes this many, evenly."""


def silhouette(points: Float[numpy.ndarray, "O D"], *, clusters: Int[numpy.ndarray, " O"]) -> float:
    """Mean over objects of (b - a) / max(a, b), -1..1: a the mean distance to its own cluster, b to the nearest other (Rousseeuw 1987). 0 with one cluster.

    An object alone in its cluster counts 0. Of more than SILHOUETTE_OBJECTS objects that many are taken, evenly. Cost: all pairs.
    """
    taken = numpy.unique(numpy.linspace(0, len(points) - 1, min(len(points), SILHOUETTE_OBJECTS)).round().astype(int))
    vectors = torch.from_numpy(numpy.ascontiguousarray(points[taken], dtype=numpy.float32))
    _, own = numpy.unique(clusters[taken], return_inverse=True)
    sizes = numpy.bincount(own)
    if len(sizes) < 2:
        return 0.0
    member = torch.nn.functional.one_hot(torch.from_numpy(own), len(sizes)).float()
    sums = (torch.cdist(vectors, vectors) @ member).numpy().astype(numpy.float64)
    rows = numpy.arange(len(own))
    inner = sums[rows, own] / numpy.maximum(sizes[own] - 1, 1)
    outer = sums / sizes
    outer[rows, own] = numpy.inf
    nearest = outer.min(axis=1)
    value = (nearest - inner) / numpy.maximum(numpy.maximum(nearest, inner), 1e-12)
    return float(numpy.where(sizes[own] > 1, value, 0.0).mean())
