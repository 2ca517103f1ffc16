"""Content: the same samples in the same order have one digest, wherever they are and in whatever format."""

import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from mcdist.building.convert import convert_shards
from mcdist.building.folder.build import build_shards
from mcdist.building.sources.demo.source import demo_source
from mcdist.building.writers.pack import Packing
from mcdist.data.readers.content import content_of
from mcdist.data.readers.open import open_shards
from mcdist.data.readers.webdataset import WebDatasetReader
from mcdist.data.shards.manifest import read_manifest, write_manifest
from tests.fixture_types import MakeShards, ShardsAt
from tests.makers.shard_server import serve
from tests.servers import starts_a_server


def digest(folder: Path) -> str:
    return content_of(open_shards(folder)).digest


@pytest.fixture
def demo(tmp_path: Path) -> Path:
    build_shards(demo_source("train", num_photos=6, size_px=32), folder=tmp_path / "demo", shard_size=4)
    return tmp_path / "demo"


@pytest.fixture(params=["built here", "of another origin"])
def folder(request: pytest.FixtureRequest, demo: Path) -> Path:
    """Six samples whose manifest says what they were made of, or does not."""
    if request.param == "of another origin":
        write_manifest(replace(read_manifest(demo), options={}), folder=demo)
    return demo


@starts_a_server
def test_moved_served_staged_and_converted_shards_have_the_same_content(folder: Path, tmp_path: Path) -> None:
    here = content_of(open_shards(folder))
    assert (here.num_samples, here.where) == (6, str(folder))
    moved = shutil.copytree(folder, tmp_path / "moved")
    assert content_of(open_shards(moved)) == replace(here, where=str(moved))
    with serve(folder) as server:
        remote = open_shards(server.url, cache_dir=str(tmp_path / "cache"))
        assert content_of(remote).digest == here.digest
    staged = open_shards(folder, stage_to=str(tmp_path / "node"))
    assert content_of(staged).digest == here.digest
    for photo in ("jpg", "raw"):
        convert_shards(folder, out=tmp_path / photo, packing=Packing(photo))  # type: ignore[arg-type]
        assert digest(tmp_path / photo) == here.digest
    convert_shards(tmp_path / "jpg", out=tmp_path / "back", packing=None)
    assert digest(tmp_path / "back") == here.digest


def test_how_many_samples_a_shard_holds_is_not_content(demo: Path, tmp_path: Path) -> None:
    build_shards(demo_source("train", num_photos=6, size_px=32), folder=tmp_path / "large", shard_size=6)
    assert digest(tmp_path / "large") == digest(demo)


@pytest.mark.parametrize("changed", [{"seed": 5}, {"num_photos": 7}, {"size_px": 40}])
def test_other_photos_under_the_same_names_are_other_content(demo: Path, tmp_path: Path, changed: dict[str, int]) -> None:
    build_shards(demo_source("train", **{"num_photos": 6, "size_px": 32} | changed), folder=tmp_path / "other")
    assert digest(tmp_path / "other") != digest(demo)


def test_what_the_manifest_says_is_enough(demo: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No index is read, so that ten million photos cost no more than ten."""
    reader = open_shards(demo)
    monkeypatch.setattr(WebDatasetReader, "read_index", None)
    assert len(content_of(reader).digest) == 64


def test_keys_are_content_where_the_manifest_says_nothing(make_shards: MakeShards, shards_at: ShardsAt, tmp_path: Path) -> None:
    twelve = digest(make_shards(12))
    assert digest(shards_at(tmp_path / "again", 12, shard_size=3)) == twelve
    assert digest(shards_at(tmp_path / "more", 13)) != twelve
