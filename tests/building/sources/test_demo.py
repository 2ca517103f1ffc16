"""The demo: repeatable, several objects a photo, colour says nothing, proposals imperfect as meant."""

import io
from collections.abc import Callable
from pathlib import Path

import numpy
import pytest
from PIL import Image
from typer.testing import Result

from mcdist.building.sources.demo.proposals import propose
from mcdist.building.sources.demo.scene import Scene, draw_scene
from mcdist.building.sources.demo.source import CLASSES, demo_source
from mcdist.data.readers.webdataset import WebDatasetReader
from mcdist.data.shards.manifest import read_manifest
from mcdist.errors import ConfigError

NUM_SCENES = 150


@pytest.fixture(scope="module")
def scenes() -> list[Scene]:
    """Small photos, enough to count on."""
    return [draw_scene(numpy.random.default_rng([5, number]), size_px=64) for number in range(NUM_SCENES)]


def test_there_are_ten_classes_and_background_comes_first(scenes: list[Scene]) -> None:
    assert len(CLASSES) == 11 and CLASSES[0] == "background"
    assert set(numpy.unique(numpy.stack([scene.classes for scene in scenes]))) == set(range(11))


def test_photos_hold_one_to_four_objects_and_often_several(scenes: list[Scene]) -> None:
    counts = [len(numpy.unique(scene.instances[scene.instances > 0])) for scene in scenes]
    assert max(counts) <= 4 and numpy.mean(numpy.array(counts) >= 2) > 0.6
    for scene in scenes:
        assert ((scene.classes > 0) == (scene.instances > 0)).all()


def test_mean_colour_does_not_tell_the_class(scenes: list[Scene]) -> None:
    """Nearest class mean in RGB, fitted on one half of the objects, is near chance (10 %) on the other."""
    colours, classes = [], []
    for scene in scenes:
        for number in numpy.unique(scene.instances[scene.instances > 0]):
            inside = scene.instances == number
            colours.append(scene.photo[inside].mean(axis=0))
            classes.append(int(scene.classes[inside][0]))
    points, labels = numpy.array(colours), numpy.array(classes)
    means = numpy.stack([points[::2][labels[::2] == index].mean(axis=0) for index in range(1, 11)])
    nearest = numpy.linalg.norm(points[1::2, None] - means[None], axis=-1).argmin(axis=1) + 1
    assert numpy.mean(nearest == labels[1::2]) < 0.25


def test_proposals_are_good_but_not_perfect(scenes: list[Scene]) -> None:
    overlaps, exact, num_found, num_true = [], 0, 0, 0
    for number, scene in enumerate(scenes):
        proposals = propose(scene.instances, random=numpy.random.default_rng([6, number]))
        present = numpy.unique(proposals)
        assert present.tolist() == list(range(len(present))) and len(present) > 1, "numbered without gaps, at least one"
        truth, found = scene.instances > 0, proposals > 0
        overlaps.append((truth & found).sum() / (truth | found).sum())
        exact += int((truth == found).all())
        num_found += len(present) - 1
        num_true += len(numpy.unique(scene.instances)) - 1
    assert 0.65 < numpy.mean(overlaps) < 0.92 and exact == 0
    assert 0.75 * num_true < num_found < num_true


def test_a_photo_depends_on_seed_part_and_key_alone() -> None:
    first = demo_source("train", num_photos=3, size_px=48, seed=1)
    assert first.make(first.items[2]) == demo_source("train", num_photos=9, size_px=48, seed=1).make(first.items[2])
    others = [demo_source("train", num_photos=3, size_px=48, seed=2), demo_source("val", num_photos=3, size_px=48, seed=1)]
    assert len({source.make(source.items[2]).members["jpg"] for source in (first, *others)}) == 3


def test_the_command_builds_train_without_and_val_with_ground_truth(run: Callable[..., Result], tmp_path: Path) -> None:
    assert run("build", "demo", "--out", tmp_path, "--num-train", 3, "--num-val", 2, "--size-px", 48, "--workers", 1).exit_code == 0
    train, val = (read_manifest(tmp_path / part) for part in ("train", "val"))
    assert (train.num_samples, val.num_samples) == (3, 2)
    assert "seg.png" not in WebDatasetReader(tmp_path / "train").read_index(0).extents
    assert "seg.png" in WebDatasetReader(tmp_path / "val").read_index(0).extents
    assert str(val.options["classes"]).split(",") == list(CLASSES)
    assert run("verify", tmp_path / "val").exit_code == 0


def test_the_stored_truth_is_the_drawn_one() -> None:
    source = demo_source("val", num_photos=1, size_px=48)
    stored = numpy.asarray(Image.open(io.BytesIO(source.make(source.items[0]).members["seg.png"])))
    assert stored.shape == (48, 48) and 0 < stored.max() <= 10


@pytest.mark.parametrize("settings", [{"num_photos": 0}, {"num_photos": 1, "size_px": 8}, {"num_photos": 1, "seed": -1}])
def test_numbers_out_of_range_are_named(settings: dict[str, int]) -> None:
    with pytest.raises(ConfigError, match="got"):
        demo_source("train", **settings)
