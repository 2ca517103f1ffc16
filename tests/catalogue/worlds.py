"""Clusters for tests: a few directions, and vectors near them."""

import numpy

from mcdist.catalogue.clusters import Clusters


def axis_clusters(num_clusters: int = 4, *, num_dims: int = 6, temperature: float = 0.1) -> Clusters:
    """Cluster k is the direction of axis k; the mean is zero."""
    eye = numpy.eye(num_dims, dtype=numpy.float32)
    return Clusters(mean=numpy.zeros(num_dims, dtype=numpy.float32), projection=eye, centroids=eye[:num_clusters], temperature=temperature)


def near_axes(axes: list[int], *, num_dims: int = 6, noise: float = 0.05, seed: int = 0) -> numpy.ndarray:
    """A vector near each of these axes."""
    noise_ND = noise * numpy.random.default_rng(seed).standard_normal((len(axes), num_dims))
    return (numpy.eye(num_dims)[axes] + noise_ND).astype(numpy.float32)
