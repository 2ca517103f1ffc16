"""A build in parts: the folder comes out as one build makes it, byte for byte, in whatever order the parts end, and a part that failed is run alone."""

from pathlib import Path

import pytest
from typer.testing import CliRunner

from mcdist.cli.main import app

SIZE = ["--num-train", "14", "--num-val", "3", "--size-px", "32", "--shard-size", "2", "--workers", "1"]


def _build(out: Path, *, part: str = "") -> str:
    done = CliRunner().invoke(app, ["shards", "build", *(["--part", part] if part else []), "demo", "--out", str(out), *SIZE])
    assert done.exit_code == 0, done.output
    return done.output


def _files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """What one build makes."""
    folder = tmp_path_factory.mktemp("whole") / "demo"
    _build(folder)
    return _files(folder)


@pytest.mark.parametrize("order", [(1, 2, 3), (3, 1, 2), (2, 2, 3, 1)])
def test_three_parts_in_any_order_make_what_one_build_makes(tmp_path: Path, whole: dict[str, bytes], order: tuple[int, ...]) -> None:
    for part in order[:-1]:
        assert f"part {part} of 3 is built" in _build(tmp_path / "demo", part=f"{part}/3")
        assert not (tmp_path / "demo" / "train" / "manifest.json").exists()
    _build(tmp_path / "demo", part=f"{order[-1]}/3")
    assert _files(tmp_path / "demo") == whole
    assert "complete already" in _build(tmp_path / "demo", part="1/3")


def test_more_parts_than_shards_and_a_build_without_parts_complete_a_folder_too(tmp_path: Path, whole: dict[str, bytes]) -> None:
    for part in (9, 4):
        _build(tmp_path / "demo", part=f"{part}/9")
    _build(tmp_path / "demo")
    assert _files(tmp_path / "demo") == whole


@pytest.mark.parametrize("text", ["0/3", "4/3", "a/b", "1", "-1/3"])
def test_a_part_that_cannot_be_is_refused(tmp_path: Path, text: str) -> None:
    done = CliRunner().invoke(app, ["shards", "build", "--part", text, "demo", "--out", str(tmp_path / "demo"), *SIZE])
    assert done.exit_code == 2 and text in done.output
    assert not (tmp_path / "demo").exists()


def test_parts_do_not_overwrite(tmp_path: Path) -> None:
    done = CliRunner().invoke(app, ["shards", "build", "--part", "1/2", "demo", "--out", str(tmp_path / "demo"), *SIZE, "--overwrite"])
    assert done.exit_code == 2 and "cannot be used with --overwrite" in done.output
