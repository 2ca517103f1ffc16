"""Clusters: which one a vector belongs to, how sure that is, and that confidences mean what they say."""

import numpy
import pytest

from mcdist.catalogue.clusters import NO_CLUSTER, Clusters
from mcdist.catalogue.fit import CLUSTERS_MIN, OBJECTS_A_CLUSTER, fit_clusters, suggested_clusters
from mcdist.errors import DataError
from mcdist.groups.graph.rows import unit


def blobs(num_blobs: int, *, num_each: int, spread: float, num_dims: int = 12, seed: int = 0) -> tuple[numpy.ndarray, numpy.ndarray]:
    """Unit vectors around random directions that share an offset, and the blob of each."""
    random = numpy.random.default_rng(seed)
    centres = unit(random.normal(size=(num_blobs, num_dims)))[0] + 2.0
    blob_of = numpy.repeat(numpy.arange(num_blobs), num_each)
    return unit(centres[blob_of] + spread * random.normal(size=(len(blob_of), num_dims)))[0], blob_of


def two_clusters(temperature: float = 0.5) -> Clusters:
    eye = numpy.eye(2, dtype=numpy.float32)
    return Clusters(mean=numpy.zeros(2, dtype=numpy.float32), projection=eye, centroids=eye, temperature=temperature)


def test_the_nearest_direction_wins_and_its_confidence_is_the_softmax_of_the_cosines() -> None:
    assigned = two_clusters().assign(numpy.array([[3.0, 0.0], [0.0, 0.1], [1.0, 1.0]], dtype=numpy.float32))
    assert assigned.cluster.tolist() == [0, 1, 0]
    assert assigned.second.tolist() == [1, 0, 1]
    sure = 1 / (1 + numpy.exp(-1 / 0.5))
    assert assigned.confidence == pytest.approx([sure, sure, 0.5], abs=1e-6)
    assert assigned.confidence + assigned.second_confidence == pytest.approx([1, 1, 1], abs=1e-6)


def test_the_only_cluster_has_no_second_and_an_empty_table_has_no_rows() -> None:
    only = Clusters(
        mean=numpy.zeros(2, dtype=numpy.float32), projection=numpy.eye(2, dtype=numpy.float32), centroids=numpy.eye(2, dtype=numpy.float32)[:1], temperature=1.0
    )
    assigned = only.assign(numpy.ones((1, 2), dtype=numpy.float32))
    assert (assigned.second.tolist(), assigned.second_confidence.tolist(), assigned.confidence.tolist()) == ([NO_CLUSTER], [0.0], [1.0])
    assert len(two_clusters().assign(numpy.zeros((0, 2), dtype=numpy.float32)).cluster) == 0


def test_a_vector_at_the_mean_is_as_far_from_all_clusters() -> None:
    assert two_clusters().probabilities(numpy.zeros((1, 2), dtype=numpy.float32)).tolist() == [[0.5, 0.5]]


def test_vectors_of_another_encoder_are_refused() -> None:
    with pytest.raises(DataError, match="clusters are of vectors of 2 numbers, got vectors of 3"):
        two_clusters().assign(numpy.zeros((1, 3), dtype=numpy.float32))


@pytest.mark.parametrize("pca_dim", [0, 6])
def test_blobs_are_found_largest_first_and_whatever_the_seed(pca_dim: int) -> None:
    vectors, blob_of = blobs(6, num_each=40, spread=0.05)
    kept = numpy.concatenate([numpy.flatnonzero(blob_of == blob)[: 40 - 4 * blob] for blob in range(6)])
    for seed in (0, 1):
        fitted = fit_clusters(vectors[kept], num_clusters=6, pca_dim=pca_dim, seed=seed)
        assigned = fitted.clusters.assign(vectors[kept])
        assert assigned.cluster.tolist() == blob_of[kept].tolist()
        assert fitted.agreement == 1.0 and assigned.confidence.min() > 0.9
    assert numpy.linalg.norm(fitted.clusters.centroids, axis=1) == pytest.approx(numpy.ones(6), abs=1e-5)


def test_the_mean_confidence_is_the_share_of_objects_that_two_halves_agree_on() -> None:
    vectors, _ = blobs(8, num_each=150, spread=0.45)
    fitted = fit_clusters(vectors, num_clusters=24)
    assert 0.2 < fitted.agreement < 0.9
    assert fitted.clusters.assign(vectors).confidence.mean() == pytest.approx(fitted.agreement, abs=0.1)


def test_fewer_objects_than_clusters_are_a_cluster_each() -> None:
    vectors, _ = blobs(3, num_each=1, spread=0.0)
    fitted = fit_clusters(vectors, num_clusters=10)
    assert fitted.clusters.num_clusters == 3 and sorted(fitted.clusters.assign(vectors).cluster) == [0, 1, 2]
    assert numpy.isnan(fitted.agreement)
    with pytest.raises(DataError, match="at least one object vector"):
        fit_clusters(vectors[:0], num_clusters=2)


def test_three_clusters_are_suggested_for_each_group_that_stands_out() -> None:
    vectors, blob_of = blobs(7, num_each=30, spread=0.05)
    photo_of = numpy.arange(len(vectors))
    assert suggested_clusters(vectors, photo_of=photo_of) == (21, 7)
    few, _ = suggested_clusters(vectors[:24], photo_of=photo_of[:24])
    assert few == 24 // OBJECTS_A_CLUSTER < CLUSTERS_MIN
    assert suggested_clusters(vectors[:1], photo_of=photo_of[:1]) == (1, 0)
