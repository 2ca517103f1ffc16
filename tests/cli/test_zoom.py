"""mcdist zoom: a configuration or a run in, a store out that mcdist group takes; mistakes are one sentence."""

from pathlib import Path

import pytest

from mcdist.cli.main import main
from mcdist.config.file import dump_config, load_config
from mcdist.groups.file import read_groups
from mcdist.store.store import FeatureStore
from tests.fixture_types import MakeShards

SMALL = """
data: {num_workers: 0}
model: {backbone: resnet18}
groups: {zoom_px: 32}
run: {device: cpu, num_threads: 1}
report: {console: "off"}
"""


def mcdist(*words: object) -> int:
    with pytest.raises(SystemExit) as leaving:
        main([str(word) for word in words])
    return int(leaving.value.code or 0)


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "small.yaml"
    path.write_text(SMALL)
    return path


def test_a_store_of_zoomed_objects_is_grouped(config: Path, make_shards: MakeShards, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert mcdist("zoom", config, "groups.zoom_views=1", "--shards", make_shards(6), "--out", tmp_path / "zoomed") == 0
    assert "zoomed: 6 photos, 12 objects, " in capsys.readouterr().out
    assert FeatureStore(tmp_path / "zoomed").column("objects", "vectors/zoom").row_shape == (512,)
    assert mcdist("group", tmp_path / "zoomed", "--masks", "objects", "--kind", "zoom", "--groups", "2", "--no-centre") == 0
    assert not read_groups(tmp_path / "zoomed-groups").grouping.settings.centre


def test_a_run_folder_says_which_backbone_and_shards(config: Path, make_shards: MakeShards, tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run/config.yaml").write_text(dump_config(load_config(config, overrides=[f"data.train={make_shards(3)}"])))
    assert mcdist("zoom", tmp_path / "run", "--out", tmp_path / "zoomed") == 0
    assert FeatureStore(tmp_path / "zoomed").num_photos == 3


def test_mistakes_are_one_sentence(config: Path, make_shards: MakeShards, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert mcdist("zoom", config, "--out", tmp_path / "zoomed") == 2
    assert "data.train is not set" in capsys.readouterr().err
    shards = make_shards(3)
    assert mcdist("zoom", config, "--shards", shards, "--out", tmp_path / "zoomed") == 0
    assert mcdist("zoom", config, "groups.zoom_margin=2", "--shards", shards, "--out", tmp_path / "zoomed") == 2
    assert "settings.margin is 1.15, expected 2.0; choose another folder" in capsys.readouterr().err
    assert mcdist("zoom", config, "groups.zoom_margin=0.5", "--shards", shards, "--out", tmp_path / "other") == 2
    assert "groups.zoom_margin must be >= 1, got 0.5" in capsys.readouterr().err
