"""Which objects the graph has: equal vectors share a node, vectors without a direction have none, what is not finite is refused."""

from pathlib import Path

import numpy
import pytest

from mcdist.errors import ConfigError, DataError
from mcdist.groups.graph import rows as rows_module
from mcdist.groups.graph.nodes import make_nodes
from mcdist.groups.graph.rows import ArrayRows, unit
from tests.groups.worlds import blobs, rows_of


def test_equal_vectors_share_a_node_and_zero_vectors_have_none() -> None:
    vectors = numpy.array([[1, 0], [0, 0], [0, 2], [1, 0], [2, 0], [0, 2], [1, 1]], dtype=numpy.float32)
    nodes = make_nodes(rows_of(vectors))
    assert nodes.node_of.tolist() == [0, -1, 1, 0, 0, 1, 2]
    assert (nodes.num_duplicates, nodes.num_without_direction, len(nodes.vectors)) == (3, 1, 3)
    assert numpy.array_equal(nodes.vectors.take(numpy.arange(3)), unit(vectors[[0, 2, 6]])[0])


def test_objects_are_equal_only_where_every_view_is() -> None:
    one = numpy.array([[1, 0], [1, 0], [1, 0]], dtype=numpy.float32)
    other = numpy.array([[0, 1], [0, 1], [1, 1]], dtype=numpy.float32)
    assert make_nodes(rows_of(one, other)).node_of.tolist() == [0, 0, 1]
    assert make_nodes(rows_of(one, numpy.array([[0, 1], [0, 0], [0, 1]], dtype=numpy.float32))).node_of.tolist() == [0, -1, 0]


def test_vectors_with_equal_keys_that_differ_are_nodes_of_their_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mcdist.groups.graph.nodes._hash", lambda vectors, *, multipliers: numpy.zeros(len(vectors), dtype=numpy.uint64))
    vectors = numpy.array([[1, 0], [0, 1], [1, 0], [1, 1]], dtype=numpy.float32)
    assert make_nodes(rows_of(vectors)).node_of.tolist() == [0, 1, 0, 2]


def test_the_mean_cosine_of_views_is_the_product_of_joined_rows() -> None:
    one, other = blobs(20, num_blobs=3, num_dims=8)[0], blobs(20, num_blobs=4, num_dims=5, seed=1)[0]
    joined = make_nodes(rows_of(one, other)).vectors.take(numpy.arange(20))
    expected = (unit(one)[0] @ unit(one)[0].T + unit(other)[0] @ unit(other)[0].T) / 2
    assert numpy.allclose(joined @ joined.T, expected, atol=1e-6)


def test_a_node_of_several_sources_may_neighbour_both() -> None:
    vectors = numpy.array([[1, 0], [1, 0], [0, 1], [1, 1]], dtype=numpy.float32)
    nodes = make_nodes(rows_of(vectors), source_of=numpy.array([7, 9, 7, 9]))
    assert len(set(nodes.source_of.tolist())) == 3
    same = make_nodes(rows_of(vectors), source_of=numpy.array([7, 7, 7, 9]))
    assert same.source_of[0] == same.source_of[1] != same.source_of[2]


def test_lengths_neither_overflow_nor_underflow() -> None:
    vectors, lengths = unit(numpy.array([[3e38, 3e38], [1e-40, 0], [0, 0]], dtype=numpy.float32))
    assert numpy.allclose(vectors, [[0.5**0.5, 0.5**0.5], [1, 0], [0, 0]])
    assert lengths[1] > 0 == lengths[2]


@pytest.mark.parametrize("block_values", [1, 40, 2**22])
def test_blocks_change_nothing(block_values: int, monkeypatch: pytest.MonkeyPatch) -> None:
    vectors = blobs(60, num_blobs=3)[0]
    vectors[[7, 30]] = vectors[2]
    expected = make_nodes(rows_of(vectors)).node_of
    monkeypatch.setattr(rows_module, "BLOCK_VALUES", block_values)
    assert numpy.array_equal(make_nodes(rows_of(vectors)).node_of, expected)


def test_a_memory_map_is_read_as_an_array_is(tmp_path: Path) -> None:
    vectors = blobs(50, num_blobs=3)[0]
    numpy.save(tmp_path / "vectors.npy", vectors.astype(numpy.float16))
    mapped = numpy.load(tmp_path / "vectors.npy", mmap_mode="r")
    nodes = make_nodes([ArrayRows(mapped)])
    assert numpy.array_equal(nodes.vectors.take(numpy.arange(50)), unit(vectors.astype(numpy.float16))[0])


@pytest.mark.parametrize("value", [numpy.nan, numpy.inf, -numpy.inf])
def test_vectors_that_are_not_finite_are_refused_with_their_count(value: float, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rows_module, "BLOCK_VALUES", 64)
    vectors = blobs(30, num_blobs=3)[0]
    vectors[[11, 12, 29], [0, 3, 5]] = value
    with pytest.raises(DataError, match=r"3 of 30 object vectors are not finite \(first: row 11\); remove them, or extract the features again"):
        make_nodes(rows_of(vectors))


def test_no_objects_other_lengths_and_rows_that_are_no_vectors_are_one_sentence_each() -> None:
    vectors = blobs(6, num_blobs=2)[0]
    with pytest.raises(DataError, match="a graph needs at least one object, there is none; check that the photos have masks"):
        make_nodes(rows_of(vectors[:0]))
    with pytest.raises(ConfigError, match=r"must have one length, the number of objects, got \[5, 6\]"):
        make_nodes(rows_of(vectors, vectors[:5]))
    with pytest.raises(ConfigError, match="got no views"):
        make_nodes([])
    with pytest.raises(ConfigError, match=r"got \[4, 6\]"):
        make_nodes(rows_of(vectors), source_of=numpy.zeros(4, dtype=numpy.int64))
    with pytest.raises(DataError, match="must be rows of floating-point numbers, got int64"):
        make_nodes(rows_of(numpy.zeros((6, 2), dtype=numpy.int64)))
    with pytest.raises(DataError, match=r"got float64 with shape \(N, \)"):
        make_nodes(rows_of(numpy.zeros(6)))
