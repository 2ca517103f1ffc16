"""Presets: a configuration is the file that is named, else the one of that name that comes with mcdist."""

from pathlib import Path

import pytest

from mcdist.config.presets import find_preset, presets_folder
from mcdist.errors import ConfigError


@pytest.mark.parametrize("name", ["demo", "demo.yaml", "configs/demo.yaml"])
def test_a_preset_is_found_by_its_name_where_there_is_no_such_file(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert find_preset(Path(name)) == presets_folder() / "demo.yaml"


@pytest.mark.parametrize("name", ["paper/moco_supervised", "configs/paper/moco_supervised.yaml"])
def test_the_papers_presets_are_found_in_their_folder(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert find_preset(Path(name)) == presets_folder() / "paper" / "moco_supervised.yaml"


def test_a_file_of_that_name_comes_first_and_a_folder_does_not(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "demo").mkdir()
    (tmp_path / "demo.yaml").write_text("")
    assert find_preset(Path("demo.yaml")) == Path("demo.yaml")
    assert find_preset(Path("demo")) == presets_folder() / "demo.yaml"


@pytest.mark.parametrize("name", ["dmeo", "elsewhere/demo.yaml", "demo.txt", "../demo", "configs/../demo.yaml", "cluster/gpu8"])
def test_what_is_neither_is_refused_with_the_presets_there_are(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError, match=f"cannot read the configuration {name}: there is no such file.*presets: demo, demo_contrast, photos"):
        find_preset(Path(name))
