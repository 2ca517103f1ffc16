"""Spectrum and cut: eigenvectors of a dense computation, unit rows, and what small and broken graphs give."""

import numpy
import pytest
import scipy.sparse
from scipy.sparse.linalg import ArpackNoConvergence

from mcdist.errors import DataError
from mcdist.groups import cut as cut_module
from mcdist.groups.clustering.agreement import adjusted_rand
from mcdist.groups.cut import cut, largest_first
from mcdist.groups.graph import spectrum as spectrum_module
from mcdist.groups.graph.affinity import affinity, normalised
from mcdist.groups.graph.neighbours import find_neighbours
from mcdist.groups.graph.nodes import make_nodes
from mcdist.groups.graph.spectrum import Spectrum, leading_spectrum
from mcdist.groups.spread import signs_of_collapse, spread_of
from tests.groups.worlds import blobs, rows_of


def graph_of(vectors: numpy.ndarray, *, num: int = 8) -> scipy.sparse.csr_array:
    nodes = make_nodes(rows_of(vectors))
    return normalised(affinity(find_neighbours(nodes.vectors, num_neighbours=num, source_of=nodes.source_of), tau=0.3))


@pytest.mark.parametrize("dense_max", [0, 400])
def test_eigenvectors_are_those_of_the_dense_matrix(dense_max: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spectrum_module, "DENSE_NODES_MAX", dense_max)
    graph = graph_of(numpy.random.default_rng(0).normal(size=(150, 10)).astype(numpy.float32))
    values, vectors = numpy.linalg.eigh(graph.toarray())
    found = leading_spectrum(graph, num=6)
    assert numpy.allclose(found.values, values[::-1][:6], atol=1e-5)
    assert found.values[0] == pytest.approx(1, abs=1e-5)
    assert numpy.allclose(numpy.abs(found.vectors.T @ vectors[:, ::-1][:, :6]), numpy.eye(6), atol=1e-3)
    assert numpy.array_equal(found.vectors, leading_spectrum(graph, num=6).vectors)


def test_rows_of_the_embedding_have_length_1_and_those_without_edges_are_zero() -> None:
    graph = scipy.sparse.block_array([[graph_of(blobs(30, num_blobs=2)[0]), None], [None, scipy.sparse.csr_array((2, 2))]]).tocsr()
    rows = leading_spectrum(scipy.sparse.csr_array(graph), num=5).embedding(num_dims=3)
    assert numpy.allclose(numpy.linalg.norm(rows, axis=1), [1] * 30 + [0, 0], atol=1e-5)


def test_the_eigengap_is_largest_at_the_number_of_planted_groups() -> None:
    found = leading_spectrum(graph_of(blobs(200, num_blobs=4, noise=1.2)[0]), num=9)
    assert max(range(2, 9), key=lambda num: found.eigengap(num_groups=num)) == 4
    assert numpy.isnan(found.eigengap(num_groups=9))


def test_what_does_not_converge_is_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*arguments: object, **named: object) -> None:
        raise ArpackNoConvergence("", numpy.zeros(0), numpy.zeros((0, 0)))

    monkeypatch.setattr(spectrum_module, "DENSE_NODES_MAX", 0)
    monkeypatch.setattr(spectrum_module, "eigsh", fails)
    with pytest.raises(DataError, match="the eigenvectors of the graph of 30 nodes did not converge in 3,000 iterations; give it more neighbours"):
        leading_spectrum(graph_of(blobs(30, num_blobs=2)[0]), num=3)


def test_groups_are_numbered_from_the_largest_and_sure_at_their_centres() -> None:
    sizes = [20, 60, 40]
    rows = numpy.repeat(numpy.eye(3, dtype=numpy.float32), sizes, axis=0)
    found = cut(Spectrum(numpy.ones(3), rows), num_groups=3, seeds=[0, 1])
    assert numpy.bincount(found.group).tolist() == [60, 40, 20]
    assert numpy.allclose(found.confidence, 1)
    assert found.seed_agreement == 1


def test_confidence_falls_towards_the_second_centre() -> None:
    angle = numpy.concatenate([numpy.zeros(20), numpy.full(20, numpy.pi / 2), [0.05, 0.3, 0.7]])
    rows = numpy.stack([numpy.cos(angle), numpy.sin(angle)], axis=1).astype(numpy.float32)
    found = cut(Spectrum(numpy.ones(2), rows), num_groups=2, seeds=[0])
    sure = found.confidence[-3:]
    assert 1 > sure[0] > sure[1] > sure[2] > 0
    assert cut(Spectrum(numpy.ones(2), rows), num_groups=1, seeds=[0]).confidence.tolist() == [1] * len(rows)


def test_the_seed_of_least_distortion_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cut_module, "NUM_STARTS", 1)
    monkeypatch.setattr(cut_module, "NUM_ITERATIONS", 2)
    rows = leading_spectrum(graph_of(blobs(200, num_blobs=8, noise=1.0)[0]), num=8)
    each = {seed: cut(rows, num_groups=8, seeds=[seed]).group for seed in range(6)}
    points = rows.embedding(num_dims=8)

    def distortion(group: numpy.ndarray) -> float:
        return sum(((points[group == one] - points[group == one].mean(axis=0)) ** 2).sum() for one in numpy.unique(group))

    all_of_them = cut(rows, num_groups=8, seeds=list(range(6)))
    best = min(each, key=lambda seed: distortion(each[seed]))
    assert adjusted_rand(all_of_them.group, other=each[best]) > 0.99
    assert all_of_them.seed_agreement < 1


@pytest.mark.parametrize(("num_nodes", "num_groups", "expected"), [(1, 1, [0]), (1, 6, [0]), (2, 6, [0, 1]), (3, 3, [0, 1, 2]), (3, 25, [0, 1, 2])])
def test_no_more_nodes_than_groups_are_a_group_each(num_nodes: int, num_groups: int, expected: list[int]) -> None:
    graph = graph_of(numpy.eye(3, dtype=numpy.float32)[:num_nodes] + 0.1)
    found = cut(leading_spectrum(graph, num=num_groups + 1), num_groups=num_groups, seeds=[0])
    assert found.group.tolist() == expected
    assert found.confidence.tolist() == [1] * num_nodes


def test_nodes_without_edges_have_no_group() -> None:
    rows = numpy.concatenate([numpy.repeat(numpy.eye(2), 5, axis=0), numpy.zeros((2, 2))]).astype(numpy.float32)
    found = cut(Spectrum(numpy.ones(2), rows), num_groups=2, seeds=[0])
    assert found.group[-2:].tolist() == [-1, -1]
    assert found.confidence[-2:].tolist() == [0, 0]
    assert (found.group[:-2] >= 0).all()


def test_centres_are_fitted_to_a_sample_of_many_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    spectrum = leading_spectrum(graph_of(blobs(300, num_blobs=4, noise=0.8)[0]), num=4)
    whole = cut(spectrum, num_groups=4, seeds=[0]).group
    monkeypatch.setattr(cut_module, "FITTED_POINTS_MAX", 60)
    assert adjusted_rand(cut(spectrum, num_groups=4, seeds=[0]).group, other=whole) > 0.95


def test_largest_first_keeps_the_groups() -> None:
    assert largest_first(numpy.array([2, 2, 2, 0, -1, 1, 1]), num_groups=4).tolist() == [0, 0, 0, 2, -1, 1, 1]


def test_a_collapse_is_named_and_sound_groups_are_not() -> None:
    even = spread_of(numpy.arange(60) % 6, num_groups=6)
    assert (even.entropy, even.largest_share, even.num_empty) == (pytest.approx(1), pytest.approx(1 / 6), 0)
    assert signs_of_collapse(even, agreement=0.9) == ()
    one = numpy.zeros(100, dtype=numpy.int64)
    one[:4], one[4:20] = [1, 2, 3, 4], -1
    signs = signs_of_collapse(spread_of(one, num_groups=6), agreement=0.2)
    assert signs == (
        "the largest of 6 groups has 95 % of the objects",
        "the entropy of the sizes is 0.14 of the most that 6 groups can have",
        "1 of 6 groups are empty",
        "16 of 100 objects have no group",
        "seeds agree by 0.20 only (adjusted Rand index)",
    )
    nothing = spread_of(numpy.full(3, -1), num_groups=2)
    assert (nothing.entropy, nothing.largest_share) == (0, 0)
    assert spread_of(numpy.zeros(3, dtype=numpy.int64), num_groups=1).entropy == 1
