"""Random labels: the floor of a clustering protocol. Each object in a cluster drawn uniformly."""

import numpy
from jaxtyping import Int


def random_clusters(num_objects: int, *, num_clusters: int, seed: int) -> Int[numpy.ndarray, " O"]:
    """A cluster number for each object."""
    return numpy.random.default_rng(seed).integers(num_clusters, size=num_objects)
