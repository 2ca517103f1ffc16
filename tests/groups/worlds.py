"""Small worlds of object vectors: planted clusters, two moons on the sphere, and the same graph computed naively."""

import numpy

from mcdist.groups.graph.rows import ArrayRows


def blobs(num_objects: int, *, num_blobs: int, num_dims: int = 16, noise: float = 0.15, seed: int = 0) -> tuple[numpy.ndarray, numpy.ndarray]:
    """(vectors, blob of each object): unit directions with noise."""
    random = numpy.random.default_rng(seed)
    blob = numpy.arange(num_objects) % num_blobs
    centres = numpy.linalg.qr(random.normal(size=(num_dims, num_dims)))[0][:num_blobs]
    return (centres[blob] + noise * random.normal(size=(num_objects, num_dims)) / num_dims**0.5).astype(numpy.float32), blob


def moons(num_objects: int, *, seed: int = 0) -> tuple[numpy.ndarray, numpy.ndarray]:
    """(vectors, moon of each): two interleaved half circles, drawn on a patch of the sphere."""
    random = numpy.random.default_rng(seed)
    moon = numpy.arange(num_objects) % 2
    angle = numpy.pi * random.uniform(size=num_objects)
    x = numpy.where(moon == 0, numpy.cos(angle), 1 - numpy.cos(angle))
    y = numpy.where(moon == 0, numpy.sin(angle), 0.5 - numpy.sin(angle))
    flat = numpy.stack([x - 0.5, y - 0.25], axis=1) + 0.04 * random.normal(size=(num_objects, 2))
    vectors = numpy.concatenate([0.5 * flat, numpy.ones((num_objects, 1))], axis=1)
    return vectors.astype(numpy.float32), moon


def rows_of(*views: numpy.ndarray) -> list[ArrayRows]:
    return [ArrayRows(view) for view in views]


def naive_cosine(vectors: numpy.ndarray) -> numpy.ndarray:
    unit = vectors / numpy.linalg.norm(vectors, axis=1, keepdims=True)
    return unit.astype(numpy.float64) @ unit.T.astype(numpy.float64)


def naive_neighbours(vectors: numpy.ndarray, *, num: int, source_of: numpy.ndarray) -> list[list[int]]:
    """For each object its nearest by cosine, one after the other."""
    cosine = naive_cosine(vectors)
    found = []
    for row in range(len(vectors)):
        allowed = [other for other in range(len(vectors)) if source_of[other] != source_of[row]]
        found.append(sorted(allowed, key=lambda other: (-cosine[row, other], other))[:num])
    return found


def naive_affinity(vectors: numpy.ndarray, *, num: int, source_of: numpy.ndarray, tau: float, symmetry: str = "maximum") -> numpy.ndarray:
    """The dense graph by its definition."""
    cosine = naive_cosine(vectors)
    directed = numpy.zeros_like(cosine)
    for row, near in enumerate(naive_neighbours(vectors, num=num, source_of=source_of)):
        for other in near:
            directed[row, other] = numpy.exp((min(1.0, cosine[row, other]) - 1) / tau)
    return numpy.maximum(directed, directed.T) if symmetry == "maximum" else numpy.minimum(directed, directed.T)


def naive_normalised(affinity: numpy.ndarray) -> numpy.ndarray:
    degree = affinity.sum(axis=1)
    scale = numpy.array([1 / value**0.5 if value > 0 else 0 for value in degree])
    return numpy.diag(scale) @ affinity @ numpy.diag(scale)
