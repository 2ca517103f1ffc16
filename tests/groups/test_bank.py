"""Exact neighbours against all pairs."""

import numpy
import pytest

from mcdist.groups import bank
from mcdist.groups.bank import Bank, nearest_of_blocks
from mcdist.groups.graph.rows import unit

pytest.importorskip("faiss")


def points(num: int, *, seed: int) -> numpy.ndarray:
    return numpy.random.default_rng(seed).normal(size=(num, 8)).astype(numpy.float32)


def test_a_bank_finds_the_largest_inner_products() -> None:
    keys, queries = unit(points(200, seed=0))[0], unit(points(30, seed=1))[0]
    filled = Bank(8, capacity=200)
    for piece in numpy.split(keys, [50, 51]):
        filled.add(piece)
    values, rows = filled.nearest(queries, num=5)
    products = queries @ keys.T
    assert not filled.half and len(filled) == 200
    assert numpy.array_equal(rows, numpy.argsort(-products, axis=1)[:, :5])
    assert numpy.allclose(values, -numpy.sort(-products, axis=1)[:, :5], atol=1e-6)


def test_a_large_bank_keeps_half_precision_and_finds_nearly_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bank, "HALF_BYTES", 10)
    keys = unit(points(100, seed=0))[0]
    filled = Bank(8, capacity=100)
    filled.add(keys)
    values, rows = filled.nearest(keys, num=1)
    assert filled.half and numpy.array_equal(rows[:, 0], numpy.arange(100)) and numpy.allclose(values, 1, atol=1e-3)


def test_fewer_keys_than_neighbours_are_all_found() -> None:
    filled = Bank(8, capacity=3)
    filled.add(unit(points(3, seed=0))[0])
    assert filled.nearest(unit(points(2, seed=1))[0], num=30)[1].shape == (2, 3)


@pytest.mark.parametrize("metric", ["cosine", "l2"])
@pytest.mark.parametrize("size", [1, 7, 500])
def test_neighbours_among_blocks_are_those_among_all_keys(metric: bank.Metric, size: int) -> None:
    keys, queries = points(90, seed=2), points(11, seed=3)
    if metric == "cosine":
        keys, queries = unit(keys)[0], unit(queries)[0]
    blocks = [keys[start : start + size] for start in range(0, 90, size)]
    values, rows = nearest_of_blocks(queries, blocks=blocks, num=6, metric=metric)
    exact = queries @ keys.T if metric == "cosine" else ((queries[:, None] - keys[None]) ** 2).sum(axis=2)
    order = numpy.argsort(-exact if metric == "cosine" else exact, axis=1)[:, :6]
    assert numpy.array_equal(rows, order)
    assert numpy.allclose(values, numpy.take_along_axis(exact, order, axis=1), atol=1e-4)
