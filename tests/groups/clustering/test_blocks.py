"""K-means in blocks against FAISS's on all vectors at once."""

from collections.abc import Iterator

import numpy
import pytest

from mcdist.errors import DataError
from mcdist.groups.clustering.blocks import fit_centres_of_blocks
from mcdist.groups.clustering.kmeans import fit_centres, nearest_centres

pytest.importorskip("faiss")


def blobs(*, num: int = 600, clusters: int = 5, seed: int = 0) -> numpy.ndarray:
    random = numpy.random.default_rng(seed)
    centres = 10 * random.normal(size=(clusters, 4))
    return (centres[numpy.arange(num) % clusters] + random.normal(size=(num, 4))).astype(numpy.float32)


def in_blocks(vectors: numpy.ndarray, size: int) -> list[numpy.ndarray]:
    return [vectors[start : start + size] for start in range(0, len(vectors), size)]


def fitted(vectors: numpy.ndarray, *, size: int, clusters: int, seed: int = 0, starts: int = 10):
    def blocks() -> Iterator[numpy.ndarray]:
        yield from in_blocks(vectors, size)

    return fit_centres_of_blocks(blocks, num_clusters=clusters, seed=seed, num_starts=starts, num_iterations=50)


def test_the_objective_is_as_low_as_that_of_faiss() -> None:
    vectors = blobs()
    found, expected = fitted(vectors, size=100, clusters=5), fit_centres(vectors, num_clusters=5, seed=0, num_starts=10, num_iterations=50)
    assert found.objective <= expected.objective * 1.0001
    distance, _ = nearest_centres(vectors, centres=found.centres, num=1)
    assert abs(float(distance.sum()) - found.objective) < 1e-3 * found.objective


@pytest.mark.parametrize("size", [7, 64, 1000])
def test_the_size_of_blocks_changes_rounding_only(size: int) -> None:
    vectors = blobs(seed=3)
    one, other = fitted(vectors, size=size, clusters=12), fitted(vectors, size=300, clusters=12)
    assert numpy.allclose(one.centres, other.centres, atol=1e-4)


def test_a_fixed_point_is_reached() -> None:
    vectors = blobs(seed=5)
    found = fitted(vectors, size=100, clusters=8)
    _, cluster = nearest_centres(vectors, centres=found.centres, num=1)
    means = numpy.stack([vectors[cluster[:, 0] == number].mean(axis=0) for number in range(8)])
    assert numpy.allclose(means, found.centres, atol=1e-3)


def test_more_clusters_than_different_vectors_leave_finite_centres() -> None:
    vectors = numpy.repeat(blobs(num=4, clusters=2), 10, axis=0)
    found = fitted(vectors, size=9, clusters=6)
    assert numpy.isfinite(found.centres).all() and found.objective < 1e-2


def test_fewer_vectors_than_clusters_say_so() -> None:
    with pytest.raises(DataError, match="9 clusters need at least as many vectors, got 4"):
        fitted(blobs(num=4), size=3, clusters=9)
