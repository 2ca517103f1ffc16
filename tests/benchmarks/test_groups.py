"""The benchmark of the object graph runs, checks the graph against a dense one, and refuses one that differs."""

import json
import sys
from pathlib import Path

import numpy
import pytest

from benchmarks.groups import graph
from benchmarks.harness.measurement import run
from mcdist.errors import DataError
from mcdist.groups.settings import GroupSettings


def rows_of(arguments: list[str], *, path: Path, monkeypatch: pytest.MonkeyPatch) -> list[dict[str, object]]:
    monkeypatch.setattr(sys, "argv", ["graph.py", *arguments, "--json", str(path)])
    with pytest.raises(SystemExit) as leaving:
        run(graph.main)
    assert leaving.value.code == 0
    return json.loads(path.read_text())


def test_every_stage_has_its_time_and_the_whole_its_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = rows_of(["--objects", "400", "--dims", "64", "--search", "approximate"], path=tmp_path / "rows.json", monkeypatch=monkeypatch)
    times = [(row["mode"], row["metric"]) for row in rows if row["unit"] == "s"]
    modes = ["vectors", "neighbours", "graph and groups", "whole"]
    assert times == [(mode, metric) for metric in ("time", "processor time") for mode in modes]
    found = {row["metric"]: row["median"] for row in rows}
    assert {"peak extra memory", "recall", "pieces before bridges", "adjusted Rand index"} <= found.keys()
    assert all(row["provider"] == "mcdist, approximate" and row["benchmark"] == "graph" for row in rows)


def test_kinds_are_drawn_the_same_again(tmp_path: Path) -> None:
    one, two = (graph.generate(tmp_path / name, num_objects=30, num_dims=16, spread=0.6) for name in ("one.npy", "two.npy"))
    assert numpy.array_equal(one, two)
    assert (tmp_path / "one.npy").read_bytes() == (tmp_path / "two.npy").read_bytes()


def test_a_graph_that_differs_from_the_dense_one_is_not_timed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    graph.generate(tmp_path / "vectors.npy", num_objects=100, num_dims=16, spread=0.6)
    vectors, source_of = numpy.load(tmp_path / "vectors.npy"), numpy.arange(100) // 2
    graph.check(vectors, source_of=source_of, settings=GroupSettings())
    monkeypatch.setattr(graph, "normalised", lambda matrix: 1.01 * matrix)
    with pytest.raises(DataError, match="the graph differs from the dense one by .*, expected at most 1e-4"):
        graph.check(vectors, source_of=source_of, settings=GroupSettings())
