import sys

import numpy
import pytest

from mcdist.errors import MissingExtraError
from mcdist.groups.clustering.kmeans import fit_centres, kmeans


def test_kmeans_finds_blobs_and_gives_the_same_for_the_same_seed() -> None:
    random = numpy.random.default_rng(0)
    truth = numpy.arange(90) % 3
    vectors = (10 * numpy.eye(3, 8)[truth] + random.normal(size=(90, 8))).astype(numpy.float32)
    clusters = kmeans(vectors, num_clusters=3, seed=0)
    assert len({(int(a), int(b)) for a, b in zip(clusters, truth, strict=True)}) == 3
    noise = random.normal(size=(90, 8)).astype(numpy.float32)
    assert (kmeans(noise, num_clusters=7, seed=4) == kmeans(noise, num_clusters=7, seed=4)).all()


def test_no_more_vectors_than_clusters_are_a_cluster_each() -> None:
    assert kmeans(numpy.zeros((2, 4), dtype=numpy.float32), num_clusters=3, seed=0).tolist() == [0, 1]
    assert kmeans(numpy.zeros((0, 4), dtype=numpy.float32), num_clusters=3, seed=0).tolist() == []


def test_missing_faiss_is_an_error_with_the_install_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "faiss", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'mcdist\[faiss-cpu\]'"):
        kmeans(numpy.zeros((4, 4), dtype=numpy.float32), num_clusters=2, seed=0)


def test_the_other_method_has_to_be_asked_for_and_ends_lower() -> None:
    random = numpy.random.default_rng(5)
    vectors = (random.normal(size=(30, 12))[random.integers(30, size=600)] + random.normal(size=(600, 12)) / 2).astype(numpy.float32)
    faiss, ours = (fit_centres(vectors, num_clusters=25, seed=0, num_starts=3, method=method) for method in ("faiss", "plus-plus"))
    assert (fit_centres(vectors, num_clusters=25, seed=0, num_starts=3).centres == faiss.centres).all()
    assert ours.objective < faiss.objective
    clusters = kmeans(vectors, num_clusters=25, seed=0, method="plus-plus")
    assert sorted(set(clusters.tolist())) == list(range(25))
