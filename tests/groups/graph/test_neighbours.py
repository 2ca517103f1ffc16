"""Neighbours: those of the naive search, whatever the sources, blocks and the way of searching."""

from inspect import unwrap

import numpy
import pytest

from mcdist.errors import ConfigError
from mcdist.groups.graph import neighbours as neighbours_module
from mcdist.groups.graph import rows as rows_module
from mcdist.groups.graph.neighbours import Neighbours, exact_neighbours, find_neighbours, recall_of
from mcdist.groups.graph.nodes import make_nodes
from tests.groups.worlds import blobs, naive_neighbours, rows_of

NUM = 90


def search(vectors: numpy.ndarray, *, num: int, source_of: numpy.ndarray | None = None, how: str = "exact", seed: int = 0) -> Neighbours:
    nodes = make_nodes(rows_of(vectors), source_of=source_of)
    return find_neighbours(nodes.vectors, num_neighbours=num, source_of=nodes.source_of, search=how, seed=seed)  # type: ignore[arg-type]


def listed(found: Neighbours) -> list[list[int]]:
    return [[other for other in row if other >= 0] for row in found.index.tolist()]


SOURCES = {
    "each its own": numpy.arange(NUM),
    "pairs": numpy.arange(NUM) // 2,
    "one photo with most objects": numpy.maximum(numpy.arange(NUM) - 80, 0),
    "two photos": numpy.arange(NUM) % 2,
}


@pytest.mark.parametrize("how", ["exact", "approximate"])
@pytest.mark.parametrize("name", SOURCES)
def test_neighbours_are_those_of_the_naive_search(name: str, how: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(neighbours_module, "PROBED_LISTS", 1000)  # all lists: the approximate search must then be exact too
    vectors, source_of = blobs(NUM, num_blobs=5)[0], SOURCES[name]
    found = search(vectors, num=12, source_of=source_of, how=how)
    assert listed(found) == naive_neighbours(vectors, num=12, source_of=source_of)
    assert found.recall == 1
    assert found.method == how
    assert (numpy.diff(found.cosine, axis=1)[found.index[:, 1:] >= 0] <= 0).all()


@pytest.mark.parametrize("extra_max", [1, 4])
def test_who_finds_too_few_outside_its_photo_is_searched_for_exactly(extra_max: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(neighbours_module, "EXTRA_MAX", extra_max)
    vectors, blob = blobs(NUM, num_blobs=5)
    found = search(vectors, num=12, source_of=blob)  # the nearest are all of the same source
    assert listed(found) == naive_neighbours(vectors, num=12, source_of=blob)
    assert found.num_completed == NUM


@pytest.mark.parametrize("block_values", [1, 100])
def test_blocks_change_nothing(block_values: int, monkeypatch: pytest.MonkeyPatch) -> None:
    vectors, source_of = blobs(NUM, num_blobs=5)[0], numpy.arange(NUM) // 3
    monkeypatch.setattr(rows_module, "BLOCK_VALUES", block_values)
    monkeypatch.setattr(neighbours_module, "QUERIES", 7)
    nodes = make_nodes(rows_of(vectors), source_of=source_of)
    naive = naive_neighbours(vectors, num=6, source_of=source_of)
    assert listed(search(vectors, num=6, source_of=source_of)) == naive
    assert exact_neighbours(nodes.vectors, queries=numpy.arange(NUM), width=6, excluded_of=[nodes.source_of])[0].tolist() == naive


def test_no_object_neighbours_itself_or_one_of_its_photo() -> None:
    source_of = numpy.arange(NUM) // 4
    found = search(blobs(NUM, num_blobs=3)[0], num=10, source_of=source_of)
    assert (source_of[found.index] != source_of[:, None]).all()


def test_fewer_objects_than_neighbours_gives_all_others() -> None:
    vectors = blobs(4, num_blobs=2)[0]
    assert [sorted(row) for row in listed(search(vectors, num=50))] == [[1, 2, 3], [0, 2, 3], [0, 1, 3], [0, 1, 2]]
    assert search(vectors[:1], num=50).index.shape == (1, 0)
    assert listed(search(vectors[:2], num=50)) == [[1], [0]]


def test_a_photo_that_holds_all_objects_leaves_none() -> None:
    found = search(blobs(8, num_blobs=2)[0], num=3, source_of=numpy.zeros(8, dtype=numpy.int64))
    assert listed(found) == [[]] * 8
    assert found.cosine.tolist() == [[0, 0, 0]] * 8


def test_the_approximate_search_measures_its_recall_and_repeats_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(neighbours_module, "PROBED_LISTS", 2)
    vectors = numpy.random.default_rng(0).normal(size=(2000, 24)).astype(numpy.float32)
    found, again, exact = (search(vectors, num=10, how=how, seed=3) for how in ("approximate", "approximate", "exact"))
    assert numpy.array_equal(found.index, again.index)
    assert found.num_checked == 1000
    assert 0.05 < found.recall < 0.95
    assert abs(found.recall - recall_of(found.index, truth=exact.index)) < 0.03


def test_auto_is_exact_up_to_a_size(monkeypatch: pytest.MonkeyPatch) -> None:
    vectors = blobs(NUM, num_blobs=3)[0]
    assert search(vectors, num=5, how="auto").method == "exact"
    monkeypatch.setattr(neighbours_module, "EXACT_NODES_MAX", NUM - 1)
    assert search(vectors, num=5, how="auto").method == "approximate"


def test_recall_counts_true_neighbours_that_were_found() -> None:
    assert recall_of(numpy.array([[1, 2], [0, -1]]), truth=numpy.array([[2, 3], [0, -1]])) == pytest.approx(2 / 3)
    assert recall_of(numpy.array([[-1]]), truth=numpy.array([[-1]])) == 1


def test_wrong_arguments_are_one_sentence() -> None:
    vectors = blobs(6, num_blobs=2)[0]
    with pytest.raises(ConfigError, match="the number of neighbours must be at least 1, got 0"):
        search(vectors, num=0)


def test_an_unknown_way_of_searching_is_one_sentence() -> None:
    nodes = make_nodes(rows_of(blobs(6, num_blobs=2)[0]))
    with pytest.raises(ConfigError, match="search must be one of auto, exact, approximate, got 'fast'"):
        unwrap(find_neighbours)(nodes.vectors, num_neighbours=2, source_of=nodes.source_of, search="fast")  # type: ignore[arg-type]
