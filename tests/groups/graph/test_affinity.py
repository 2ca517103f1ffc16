"""The graph: weights, symmetry and normalisation as a dense computation has them; and bridges between its pieces."""

from inspect import unwrap

import numpy
import pytest
from scipy.sparse.csgraph import connected_components

from mcdist.errors import ConfigError
from mcdist.groups.graph.affinity import affinity, mean_affinity, normalised
from mcdist.groups.graph.bridges import Bridged, bridge
from mcdist.groups.graph.neighbours import Neighbours, find_neighbours
from mcdist.groups.graph.nodes import Nodes, make_nodes
from tests.groups.worlds import blobs, naive_affinity, naive_cosine, naive_normalised, rows_of

NUM = 60


def lists_of(vectors: numpy.ndarray, *, num: int, source_of: numpy.ndarray | None = None) -> tuple[Nodes, Neighbours]:
    nodes = make_nodes(rows_of(vectors), source_of=source_of)
    return nodes, find_neighbours(nodes.vectors, num_neighbours=num, source_of=nodes.source_of)


def bridged(vectors: numpy.ndarray, *, num: int, symmetry: str = "maximum", source_of: numpy.ndarray | None = None, tau: float = 0.3) -> Bridged:
    nodes, found = lists_of(vectors, num=num, source_of=source_of)
    graph = affinity(found, tau=tau, symmetry=symmetry)  # type: ignore[arg-type]
    return bridge(graph, vectors=nodes.vectors, lists=[found], source_of=nodes.source_of, tau=tau)


@pytest.mark.parametrize("symmetry", ["maximum", "mutual"])
@pytest.mark.parametrize("tau", [0.05, 0.3])
def test_weights_and_degrees_are_those_of_the_dense_computation(symmetry: str, tau: float) -> None:
    vectors, source_of = blobs(NUM, num_blobs=4)[0], numpy.arange(NUM) // 3
    graph = affinity(lists_of(vectors, num=7, source_of=source_of)[1], tau=tau, symmetry=symmetry)  # type: ignore[arg-type]
    expected = naive_affinity(vectors, num=7, source_of=source_of, tau=tau, symmetry=symmetry)
    assert numpy.allclose(graph.toarray(), expected, rtol=1e-4, atol=1e-9)
    assert (graph.toarray() == graph.toarray().T).all()
    assert (graph.diagonal() == 0).all()
    assert numpy.allclose(normalised(graph).toarray(), naive_normalised(expected), rtol=1e-4, atol=1e-9)


def test_several_views_are_averaged() -> None:
    one, other = blobs(NUM, num_blobs=4)[0], blobs(NUM, num_blobs=3, seed=5)[0]
    graphs = [affinity(lists_of(view, num=5)[1], tau=0.3) for view in (one, other)]
    expected = sum(naive_affinity(view, num=5, source_of=numpy.arange(NUM), tau=0.3) for view in (one, other)) / 2
    assert numpy.allclose(mean_affinity(graphs).toarray(), expected, rtol=1e-4, atol=1e-9)


def test_the_eigenvalues_of_a_normalised_graph_are_at_most_1_and_a_node_without_edges_has_an_empty_row() -> None:
    found = Neighbours(numpy.array([[1], [0], [-1]]), numpy.array([[0.5], [0.5], [0]], dtype=numpy.float32), method="exact")
    graph = normalised(affinity(found, tau=0.3)).toarray()
    assert numpy.allclose(graph, [[0, 1, 0], [1, 0, 0], [0, 0, 0]])


def test_a_weight_that_underflows_is_no_edge() -> None:
    found = Neighbours(numpy.array([[1], [0]]), numpy.array([[-1], [-1]], dtype=numpy.float32), method="exact")
    assert affinity(found, tau=1e-3).nnz == 0


@pytest.mark.parametrize("tau", [0.0, -1.0, float("nan"), float("inf")])
def test_a_wrong_tau_or_symmetry_is_one_sentence(tau: float) -> None:
    found = lists_of(blobs(6, num_blobs=2)[0], num=2)[1]
    with pytest.raises(ConfigError, match=f"tau must be a number > 0, got {tau}"):
        affinity(found, tau=tau)
    with pytest.raises(ConfigError, match="symmetry must be one of maximum, mutual, got 'min'"):
        unwrap(affinity)(found, tau=0.3, symmetry="min")  # type: ignore[arg-type]


def test_pieces_are_joined_where_they_are_most_similar() -> None:
    vectors, blob = blobs(NUM, num_blobs=4, noise=0.05)
    made = bridged(vectors, num=5)
    assert (made.num_pieces, made.num_left) == (4, 1)
    assert made.num_bridges == 3
    plain = affinity(lists_of(vectors, num=5)[1], tau=0.3).toarray()
    rows, columns = numpy.nonzero(numpy.triu(made.graph.toarray() - plain))
    cosine = naive_cosine(vectors)
    for row, column in zip(rows, columns, strict=True):
        pieces = blob[row], blob[column]
        assert pieces[0] != pieces[1]
        best_of = [cosine[blob == piece][:, blob != piece].max() for piece in pieces]
        assert cosine[row, column] == pytest.approx(min(best_of)) or cosine[row, column] == pytest.approx(max(best_of))
        assert made.graph.toarray()[row, column] == pytest.approx(numpy.exp((cosine[row, column] - 1) / 0.3), rel=1e-4)


def test_a_mutual_graph_is_joined_by_the_edges_it_dropped() -> None:
    vectors = numpy.random.default_rng(1).normal(size=(80, 6)).astype(numpy.float32)
    nodes, found = lists_of(vectors, num=2)
    graph = affinity(found, tau=0.3, symmetry="mutual")
    assert connected_components(graph)[0] > 10
    made = bridge(graph, vectors=nodes.vectors, lists=[found], source_of=nodes.source_of, tau=0.3)
    assert connected_components(made.graph)[0] == made.num_left == 1
    assert made.num_bridges >= made.num_pieces - 1


def test_no_bridge_joins_objects_of_one_photo() -> None:
    vectors, blob = blobs(NUM, num_blobs=3, noise=0.05)
    source_of = numpy.where(blob == 2, 0, numpy.arange(NUM) + 1)
    source_of[blob == 1] = numpy.where(numpy.arange((blob == 1).sum()) % 2, 0, source_of[blob == 1])
    rows, columns = numpy.nonzero(bridged(vectors, num=5, source_of=source_of).graph.toarray())
    assert (source_of[rows] != source_of[columns]).all()


def test_a_piece_that_may_not_be_joined_is_left_and_counted() -> None:
    tiny_tau = bridged(blobs(NUM, num_blobs=2, noise=0.001)[0], num=3, tau=1e-3)  # a bridge would weigh exp(-1000)
    assert tiny_tau.num_left == tiny_tau.num_pieces > 1
    assert tiny_tau.num_bridges == 0


def test_bridges_repeat_themselves() -> None:
    vectors = blobs(NUM, num_blobs=5, noise=0.05)[0]
    assert (bridged(vectors, num=4).graph != bridged(vectors, num=4).graph).nnz == 0
