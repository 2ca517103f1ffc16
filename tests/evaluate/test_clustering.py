import sys

import numpy
import pytest
import torch

from mcdist.errors import MissingExtraError
from mcdist.evaluate.kmeans import kmeans
from mcdist.evaluate.whiten import whiten


def test_whitening_makes_uncorrelated_directions_of_variance_one() -> None:
    torch.manual_seed(0)
    vectors = torch.randn(200, 6) @ torch.randn(6, 6)
    white = whiten(vectors, dim=4)
    assert white.shape == (200, 4)
    torch.testing.assert_close(torch.cov(white.T), torch.eye(4), atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("shape", [(200, 6), (5, 40)])
def test_whitening_keeps_the_directions_of_largest_variance(shape: tuple[int, int]) -> None:
    torch.manual_seed(0)
    vectors = torch.randn(shape)
    vectors[:, 2] *= 30
    first = whiten(vectors, dim=1)[:, 0]
    assert abs(torch.corrcoef(torch.stack([first, vectors[:, 2]]))[0, 1]) > 0.99


def test_whitening_gives_no_more_directions_than_objects_or_variance_allow() -> None:
    torch.manual_seed(0)
    assert whiten(torch.randn(5, 40), dim=32).shape == (5, 4)
    assert whiten(torch.randn(50, 3) @ torch.randn(3, 40), dim=32).shape == (50, 3)
    assert whiten(torch.ones(7, 4), dim=2).tolist() == [[0.0]] * 7
    assert whiten(torch.ones(1, 4), dim=2).tolist() == [[0.0]]


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
