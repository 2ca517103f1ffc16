"""The benchmark of the object zoom runs, times every stage, and refuses a network whose vectors differ."""

import json
import sys
from pathlib import Path

import pytest
import torch

from benchmarks.harness.command import run
from benchmarks.zoom import zoom
from mcdist.errors import DataError
from mcdist.zoom.settings import ZoomSettings
from tests.fixture_types import MakeShards


def test_every_stage_has_its_time(make_shards: MakeShards, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    arguments = [str(make_shards(3)), "--backbone", "resnet18", "--weights", "none", "--size", "32", "--repeats", "1"]
    monkeypatch.setattr(sys, "argv", ["zoom.py", *arguments, "--json", str(tmp_path / "rows.json")])
    monkeypatch.setattr(zoom, "make_way", lambda way, **made: made_once(**made))
    with pytest.raises(SystemExit) as leaving:
        run(zoom.main)
    assert leaving.value.code == 0
    rows = json.loads((tmp_path / "rows.json").read_text())
    modes = ["read and decode", "cut", *(f"network, {way}" for way in zoom.WAYS), "of it: to numbers", "of it: stages", "whole", "whole"]
    assert [row["mode"] for row in rows] == modes
    assert {row["shape"] for row in rows} == {"6 objects, 2 views of 32 px"}


def made_once(**made: object) -> object:
    torch.manual_seed(0)
    return zoom.make_backbone(made["name"], weights=made["weights"], dilated=False).eval()  # type: ignore[arg-type]


def test_a_network_that_gives_other_vectors_is_not_timed(make_shards: MakeShards) -> None:
    settings = ZoomSettings(size_px=32, num_views=1)
    with pytest.raises(DataError, match="the vectors of the network channels last differ by"):
        zoom.timed(make_shards(2), num_photos=2, name="resnet18", weights="none", settings=settings, repeats=1)  # each way has random weights of its own
