"""A discovery from a folder of photos to segment maps: every stage once, nothing twice, and one sentence for each thing that is wrong."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections import namedtuple
from pathlib import Path

import pytest
from typer.testing import CliRunner

import mcdist
from mcdist.catalogue.catalogue import Catalogue
from mcdist.catalogue.names_of_run import names_of
from mcdist.cli.main import app
from mcdist.config.file import load_run_config
from mcdist.data.pictures.folder import pictures_in
from mcdist.dataset.labels import LabelRule
from mcdist.errors import ConfigError, DataError, MachineError
from mcdist.planning.record import read_record
from mcdist.run_dir import RunDir
from mcdist.workflows import discovery
from mcdist.workflows.dataset_export import export_dataset
from mcdist.workflows.discovery import discover
from mcdist.workflows.viewing import make_view
from tests.makers.photo_folder import TINY, photo_folder
from tests.planning.test_plan import COSTS

METHOD = "frequency_tuned"


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """(photos, run, console): a discovery with a text file beside the photos and a file that only looks like a photo."""
    root = tmp_path_factory.mktemp("discovered")
    photos = photo_folder(root / "photos")
    (photos / "notes.txt").write_text("no photo")
    (photos / "broken.jpg").write_bytes(b"\xff\xd8 no photo")
    result = CliRunner().invoke(app, ["discover", str(photos), "--out", str(root / "run"), "--proposals", METHOD, "--workers", "1", *TINY])
    assert result.exit_code == 0, result.output
    return photos, root / "run", result.output


def test_every_photo_has_a_map_and_every_other_file_is_named(made):
    photos, run, console = made
    done = {path.relative_to(run / "segments" / "segments").as_posix().removesuffix(".json") for path in (run / "segments" / "segments").rglob("*.json")}
    assert done == set(pictures_in(photos)) - {"broken.jpg"}
    assert all((run / "segments" / "maps" / f"{name}.png").is_file() for name in done)
    assert "broken.jpg" in console and (run / "report.html").is_file() and Catalogue.open(RunDir(run)).photos
    assert not (run / "views").exists(), "views are made for the training alone"


def test_the_console_counts_stages_and_ends_with_what_to_do_next(made):
    photos, run, console = made
    places = [console.index(f"[{number}/6] {stage}") for number, stage in enumerate(discovery.STAGES, 1)]
    assert places == sorted(places)
    assert f"mcdist view {run}" in console and f"mcdist export-dataset {run} --out dataset" in console.splitlines()[-1]


def test_the_python_twin_does_nothing_twice_and_gives_the_loaded_run(made, capsys):
    photos, run, _ = made
    before = {path: path.stat().st_mtime_ns for folder in ("checkpoints", "catalogue", "segments/segments", "shards") for path in (run / folder).rglob("*")}
    loaded = mcdist.discover(photos, out=run)
    console = capsys.readouterr().out
    assert [f"{stage}   stands" in console for stage in discovery.STAGES] == [True] * 6
    assert {path: path.stat().st_mtime_ns for path in before} == before
    photo = photos / "photo 1.jpg"
    assert loaded.segment(photo).instances.shape == (64, 64)
    assert len(loaded.search(photo, (5, 5), num=3).hits) == 3


def test_clusters_are_named_and_the_run_is_exported_as_a_data_set(made, tmp_path):
    _, run, _ = made
    catalogue = Catalogue.open(RunDir(run))
    file = names_of(RunDir(run), catalogue=catalogue)
    file.change(lambda names: names.name(0, "thing"), revision=file.read().revision)
    out = export_dataset(run, format="coco", out=tmp_path / "dataset", rule=LabelRule(0.0)).folder
    content = json.loads((out / "annotations" / "instances_train.json").read_text())
    assert content["categories"] == [{"id": 1, "name": "thing", "supercategory": "object"}] and content["annotations"]
    assert f"step {catalogue.facts.step}" in (out / "README.md").read_text()


def test_other_settings_or_photos_are_refused_and_nothing_changes(made):
    photos, run, _ = made
    with pytest.raises(ConfigError, match="began with --proposals frequency_tuned, got ensemble"):
        discover(photos, out=run, method="ensemble")
    with pytest.raises(ConfigError, match="began with the settings"):
        discover(photos, out=run, overrides=["optim.epochs=9"])
    (photos / "new.jpg").write_bytes((photos / "photo 1.jpg").read_bytes())
    try:
        with pytest.raises(ConfigError, match="has other photos than the 9 of which this discovery was begun; new: new.jpg; put them back, or begin another"):
            discover(photos, out=run)
    finally:
        (photos / "new.jpg").unlink()


def test_a_run_that_was_moved_finds_the_shards_inside_it(made, tmp_path):
    photos, run, _ = made
    moved = tmp_path / "elsewhere" / "renamed"
    shutil.copytree(run, moved)
    run.rename(run.with_name("away"))  # what is at the former place must not be found
    try:
        assert Path(load_run_config(RunDir(moved)).data.train) == moved.resolve() / "shards"
        loaded = mcdist.load(moved)
        assert loaded.photo(0).shape == (64, 64, 3) and loaded.photo_path(0) in pictures_in(photos)
        assert make_view(RunDir(moved), overrides=[], say=print) is not None
        assert mcdist.discover(photos, out=moved).catalogue.key == loaded.catalogue.key
        assert CliRunner().invoke(app, ["cluster", str(moved)]).exit_code == 0, "the catalogue that is there is of these shards"
    finally:
        run.with_name("away").rename(run)


def test_an_absent_photo_of_a_loaded_run_is_known_by_its_key_alone(made, tmp_path):
    _, run, _ = made
    shutil.copytree(run, tmp_path / "run")
    loaded = mcdist.load(tmp_path / "run")
    shutil.rmtree(tmp_path / "run" / "shards")
    run.rename(run.with_name("away"))
    try:
        assert loaded.photo_path(0) == ""
    finally:
        run.with_name("away").rename(run)


def test_what_is_wrong_is_one_sentence_and_makes_nothing(tmp_path):
    photos = photo_folder(tmp_path / "photos", num_photos=2)
    (tmp_path / "empty").mkdir()
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("years of work")
    for arguments, error, sentence in (
        ({"photos": tmp_path / "empty"}, DataError, "expected photos .* found none; give the folder that holds them"),
        ({"photos": tmp_path / "nowhere"}, DataError, "expected the folder of photos at .*, found nothing there"),
        ({"photos": tmp_path / "mine" / "thesis.txt"}, DataError, "found a file there"),
        ({"out": tmp_path / "mine"}, ConfigError, "holds something that mcdist discover did not begin"),
        ({"out": photos / "run"}, ConfigError, "must not be in the folder of photos"),
        ({"minutes": -3.0}, ConfigError, "--minutes must be more than 0"),
        ({"method": "ensembel"}, ConfigError, "ensemble"),
        ({"overrides": ["optim.epoch=3"]}, ConfigError, "optim.epochs"),
        ({"overrides": ["run.dir=elsewhere"]}, ConfigError, "the folders of a discovery are in --out"),
    ):
        given: dict = {"photos": photos, "out": tmp_path / "run", **arguments}
        with pytest.raises(error, match=sentence):
            discover(given.pop("photos"), **given)
    assert not (tmp_path / "run" / "discover.json").exists()
    assert [path.name for path in (tmp_path / "mine").iterdir()] == ["thesis.txt"]


def test_a_folder_of_files_that_are_no_photos_is_refused(tmp_path):
    for number in range(3):
        (tmp_path / "photos" / f"{number}.jpg").parent.mkdir(exist_ok=True)
        (tmp_path / "photos" / f"{number}.jpg").write_bytes(b"\xff\xd8 no photo")
    with pytest.raises(DataError, match="photos"):
        discover(tmp_path / "photos", out=tmp_path / "run", method=METHOD)


def test_the_estimate_is_of_what_was_measured_and_a_disk_that_is_too_small_is_refused(tmp_path, monkeypatch, capsys):
    photos = photo_folder(tmp_path / "photos", num_photos=40)
    asked = []

    def measured(*given, method, **options):
        asked.append(method)
        return COSTS

    monkeypatch.setattr(discovery, "measure", measured)
    assert discover(photos, out=tmp_path / "run", minutes=2.0, estimate_only=True) == 0
    record = read_record(tmp_path / "run")
    assert record is not None and record.costs == COSTS and asked == ["ensemble"]
    assert "40 photos: about " in capsys.readouterr().out
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(discovery.shutil, "disk_usage", lambda path: usage(10**9, 10**9, 0))
    with pytest.raises(MachineError, match="GB more, its disk has 0 GB free; free some space, or choose another --out"):
        discover(photos, out=tmp_path / "run")
    assert len(asked) == 1, "what was measured is kept"


@pytest.mark.slow
def test_a_trial_measures_every_stage_and_leaves_nothing(tmp_path):
    photos = photo_folder(tmp_path / "photos", num_photos=40)
    assert discover(photos, out=tmp_path / "run", method=METHOD, overrides=TINY, estimate_only=True) == 0
    record = read_record(tmp_path / "run")
    assert record is not None and record.costs is not None
    costs = record.costs
    assert costs.zoom_s > 0 and costs.embed_s > 0 and costs.shard_bytes > 500 and costs.view_bytes > 1000
    assert [path.name for path in (tmp_path / "run").iterdir()] == ["discover.json"]


@pytest.mark.slow
@pytest.mark.parametrize(
    "after", ["proposals/proposals.json", "shards/manifest.json", "groups/round_00/groups", "catalogue/catalogue.json", "segments/segments"]
)
def test_a_killed_discovery_goes_on(tmp_path, after):
    photos, run = photo_folder(tmp_path / "photos"), tmp_path / "run"
    command = [sys.executable, "-m", "mcdist", "discover", str(photos), "--out", str(run), "--proposals", METHOD, "--workers", "1", *TINY]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True) as process:
        while process.poll() is None and not (run / after).exists():
            time.sleep(0.01)
        os.killpg(process.pid, signal.SIGKILL)
    finished = subprocess.run(command, capture_output=True, text=True, check=False)
    assert finished.returncode == 0, finished.stderr
    assert len(list((run / "segments" / "segments").rglob("*.json"))) == 8
    assert finished.stdout.count("done in") + finished.stdout.count("stands") == 6


def test_a_run_folder_of_training_is_not_taken_for_a_discovery(tmp_path):
    photos, run = photo_folder(tmp_path / "photos", num_photos=2), RunDir(tmp_path / "run").create()
    run.config.write_text("model: {backbone: resnet18}\n")
    with pytest.raises(ConfigError, match="did not begin"):
        discover(photos, out=run.root)
    assert Path(run.config).read_text() == "model: {backbone: resnet18}\n"
