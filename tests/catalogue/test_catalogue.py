"""A catalogue: made once, kept, replaced only where that is asked for, and refused where it is damaged."""

import json
from pathlib import Path

import numpy
import pytest
from typer.testing import CliRunner

from mcdist.catalogue.catalogue import Catalogue
from mcdist.catalogue.file import TABLES_NAME
from mcdist.cli.main import app
from mcdist.errors import ConfigError, DataError
from mcdist.run_dir import RunDir
from mcdist.workflows.cataloguing import catalogue_overrides, cluster_run
from tests.catalogue.catalogued_run import catalogued_run
from tests.fixture_types import ShardsAt


@pytest.fixture(scope="module")
def run_dir(tmp_path_factory: pytest.TempPathFactory, shards_at: ShardsAt) -> RunDir:
    return catalogued_run(tmp_path_factory.mktemp("catalogued"), shards_at=shards_at)


@pytest.fixture
def copied(run_dir: RunDir, tmp_path: Path) -> RunDir:
    """The run's files with a catalogue of its own to spoil."""
    for path in (run_dir.root / "config.yaml", *run_dir.catalogue.iterdir()):
        to = tmp_path / "run" / path.relative_to(run_dir.root)
        to.parent.mkdir(parents=True, exist_ok=True)
        to.write_bytes(path.read_bytes())
    return RunDir(tmp_path / "run")


def test_a_catalogue_holds_every_predicted_object_with_photo_box_cluster_and_vector(run_dir: RunDir) -> None:
    catalogue = Catalogue.open(run_dir)
    objects = catalogue.objects
    assert len(objects) == catalogue.cluster_sizes.sum() >= 6
    assert len(catalogue.photos) == len(catalogue.sizes) == 12 and objects.photo.max() < 12
    assert (objects.box[:, :2] < objects.box[:, 2:]).all() and objects.area_px.min() > 0
    assert numpy.linalg.norm(objects.vector, axis=1) == pytest.approx(numpy.ones(len(objects)), abs=1e-5)
    assigned = catalogue.clusters.assign(objects.vector)
    assert numpy.array_equal(assigned.cluster, objects.cluster) and numpy.array_equal(assigned.confidence, objects.confidence)
    assert list(catalogue.cluster_sizes) == sorted(catalogue.cluster_sizes, reverse=True)


def test_an_object_is_its_own_nearest_and_others_follow_by_similarity(run_dir: RunDir) -> None:
    catalogue = Catalogue.open(run_dir)
    rows, similarity = catalogue.search(catalogue.objects.vector[3], num=5)
    assert rows[0] == 3 and similarity[0] == pytest.approx(1, abs=1e-5)
    assert list(similarity) == sorted(similarity, reverse=True)
    assert len(catalogue.search(catalogue.objects.vector[3], num=10_000)[0]) == len(catalogue.objects)


def test_the_same_again_is_kept_and_another_number_of_clusters_needs_overwrite(run_dir: RunDir, tmp_path: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in run_dir.catalogue.iterdir()}
    said: list[str] = []
    again = cluster_run(run_dir, num_clusters=3, say=said.append)
    assert again is not None and again.key == Catalogue.open(run_dir).key
    assert {path: path.stat().st_mtime_ns for path in run_dir.catalogue.iterdir()} == before and any("stays" in text for text in said)
    with pytest.raises(ConfigError, match=r"another catalogue \(3 clusters.*--overwrite"):
        cluster_run(run_dir, num_clusters=2)
    run_dir.names.write_text("{}")
    other = cluster_run(run_dir, num_clusters=2, overwrite=True, say=said.append)
    assert other is not None and other.key != again.key and not run_dir.names.exists()
    assert (run_dir.root / f"names_{again.key}.json").read_text() == "{}"
    back = cluster_run(run_dir, num_clusters=3, overwrite=True)
    assert back is not None and back.key == again.key


def test_two_animals_apart_are_two_objects_unless_the_caller_says_otherwise() -> None:
    assert catalogue_overrides(["run.seed=1"]) == ("run.seed=1", "evaluate.objects=components", "evaluate.limit=0")
    assert catalogue_overrides(["evaluate.objects=photo"]) == ("evaluate.objects=photo", "evaluate.limit=0")


def test_the_command_says_what_it_made_and_what_is_wrong(run_dir: RunDir, tmp_path: Path) -> None:
    done = CliRunner().invoke(app, ["cluster", str(run_dir.root), "--clusters", "3"])
    assert done.exit_code == 0 and "12 photos in 3 clusters" in done.stdout
    with pytest.raises(ConfigError, match="expected a run at"):
        cluster_run(RunDir(tmp_path))
    with pytest.raises(ConfigError, match="--clusters must be between 1 and 253"):
        cluster_run(run_dir, num_clusters=1000)
    with pytest.raises(DataError, match="the encoder predicts no object in the 12 photos"):
        cluster_run(run_dir, overrides=["evaluate.component_area_min=1.0"], num_clusters=3)


def test_a_run_without_a_catalogue_names_the_remedy(copied: RunDir) -> None:
    for path in copied.catalogue.iterdir():
        path.unlink()
    with pytest.raises(DataError, match=rf"found none; make it with: mcdist cluster {copied.root}"):
        Catalogue.open(copied)


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"format": "mcdist catalogue 9"}, "is 'mcdist catalogue 9', this mcdist reads"),
        ({"num_objects": 5}, "is damaged"),
        ({"temperature": 0}, "is damaged"),
        ({"num_photos": 3}, "is damaged"),
        ({"sha256": {}}, "is damaged"),
    ],
)
def test_a_damaged_catalogue_is_refused_with_the_remedy(copied: RunDir, change: dict[str, object], match: str) -> None:
    path = copied.catalogue / "catalogue.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **change}))
    with pytest.raises(DataError, match=match + ".*mcdist cluster .* --overwrite"):
        Catalogue.open(copied)


@pytest.mark.parametrize("content", [b"", b"not a tensor file", b"\xff" * 64])
def test_damaged_tables_are_refused(copied: RunDir, content: bytes) -> None:
    (copied.catalogue / TABLES_NAME).write_bytes(content)
    with pytest.raises(DataError, match="is damaged"):
        Catalogue.open(copied)
