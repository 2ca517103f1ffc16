"""The benchmark of the object graph runs, checks the graph against a dense one, and refuses one that differs."""

import json
import sys
from pathlib import Path

import numpy
import pytest

from benchmarks.groups import graph, kmeans
from benchmarks.harness.command import run
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


def test_kmeans_in_blocks_is_timed_and_its_memory_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kmeans, "SMALL", 400)
    monkeypatch.setattr(kmeans, "BLOCK", 500)
    monkeypatch.setattr(
        sys, "argv", ["kmeans.py", "--vectors", "1200", "--dims", "4", "--clusters", "8", "--passes", "2", "--json", str(tmp_path / "rows.json")]
    )
    with pytest.raises(SystemExit) as leaving:
        run(kmeans.main)
    assert leaving.value.code == 0
    found = {(row["mode"], row["metric"]): row for row in json.loads((tmp_path / "rows.json").read_text())}
    assert found["400 vectors", "objective against FAISS in memory"]["median"] <= kmeans.WORSE_MAX
    assert found["a pass", "vectors"]["median"] == pytest.approx(3 * 1200 / found["whole", "time"]["median"] / 1e6)
    assert "1,200 vectors of 4 dimensions, K = 8" in found["whole", "time"]["shape"]


def test_kmeans_that_ends_worse_than_in_memory_is_not_timed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kmeans, "SMALL", 400)
    monkeypatch.setattr(kmeans, "WORSE_MAX", 0.5)
    with pytest.raises(DataError, match="times the objective of FAISS in memory, expected at most 0.5"):
        kmeans.check(tmp_path, num_dims=4, num_clusters=8)
