"""The benchmark of the patch protocols' memory runs on small stores, and refuses a protocol that has learned nothing."""

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from benchmarks.harness.command import run
from benchmarks.protocols import memory
from mcdist.errors import DataError

pytest.importorskip("faiss")


def test_each_size_has_its_peak(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    arguments = ["--protocol", "hummingbird/clean", "--judged", "3", "--fitted", "9", "--times", "2", "--dims", "16", "--json", str(tmp_path / "rows.json")]
    monkeypatch.setattr(sys, "argv", ["memory.py", *arguments])
    with pytest.raises(SystemExit) as leaving:
        run(memory.main)
    assert leaving.value.code == 0
    rows = json.loads((tmp_path / "rows.json").read_text())
    assert [(row["mode"], row["metric"]) for row in rows[::3]] == [(mode, "peak of own memory") for mode in ("1 x", "2 x judged", "2 x fitted")]
    assert "hummingbird/clean: 6 judged photos, 9 to fit on" in rows[3]["shape"]


def test_a_protocol_no_better_than_chance_is_not_measured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    judged, fitted = (memory.generate(tmp_path / str(seed), num_photos=4, num_dims=8, grid=4, seed=seed) for seed in (0, 1))
    view = memory.view_of(judged, fitted=fitted)

    def blind(protocol: Any, view: Any, found: list[Any]) -> None:
        found.append([type("Row", (), {"mean": 12.5})()])

    monkeypatch.setattr(memory, "_judge", blind)
    with pytest.raises(DataError, match="hummingbird/clean scores 12.5 on features that show the classes"):
        memory.measured("hummingbird/clean", views={"1 x": view}, times=2)
