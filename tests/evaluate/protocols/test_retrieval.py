"""Retrieval: the class of the nearest training object. A supervised protocol: who mixes up two classes does not get away with it."""

from dataclasses import replace
from pathlib import Path

import numpy
import pytest
import torch

from mcdist.errors import ConfigError, DataError
from mcdist.evaluate.protocols.retrieval import NUM_NEAREST, NUM_SHOWN, nearest_rows
from mcdist.records import Row
from mcdist.records.names import RETRIEVAL_7_CLEAN, RETRIEVAL_21_CLEAN, RETRIEVAL_21_PUBLISHED
from mcdist.store.store import FeatureStore
from tests.evaluate.colour_world import CLASSES, judge_store, make_sample, make_store

SWAPPED = {"background": [0], "red": [2], "green": [1], "blue": [3]}


@pytest.fixture(scope="module")
def stores(tmp_path_factory: pytest.TempPathFactory) -> tuple[FeatureStore, FeatureStore]:
    folder = tmp_path_factory.mktemp("retrieval")
    judged = make_store(folder / "judged", samples=[make_sample(index) for index in range(9)])
    return judged, make_store(folder / "train", samples=[make_sample(index) for index in range(20, 29)])


def rows_of(stores: tuple[FeatureStore, FeatureStore], *, protocol: str = RETRIEVAL_21_CLEAN, classes=CLASSES, **given) -> dict[tuple[str, str], Row]:
    judged, _ = judge_store(stores[0], classes=classes, train=stores[1], protocols=[protocol], **given)
    return {(row.subject.masks, row.subject.encoder): row for row in judged.evaluation.rows}


def test_features_that_know_the_classes_reach_what_the_masks_allow(stores) -> None:
    rows = rows_of(stores)
    assert rows["proposals", "trained"].values == (100.0,)
    assert rows["predicted", "trained"].mean == pytest.approx(rows["predicted", "upper bound"].mean)
    assert rows["proposals", "initial"].mean < 60 and rows["proposals", "random labels"].mean < 80
    assert len(rows["proposals", "random labels"].values) == 2
    assert rows["proposals", "trained"].details["num_memory"] == 9
    low, high = rows["proposals", "trained"].interval or (0, 0)
    assert low == high == 100


def test_a_predictor_that_swaps_two_classes_is_wrong(stores) -> None:
    """Nothing is matched after the fact: two of four classes are lost."""
    assert rows_of(stores, train_classes=SWAPPED)["proposals", "trained"].values == (50.0,)


def test_a_class_that_no_judged_photo_shows_is_left_out(stores) -> None:
    row = rows_of(stores, classes={**CLASSES, "purple": [9]})["proposals", "trained"]
    assert row.values == (100.0,) and row.details["mean over"] == ["background", "red", "green", "blue"]


def test_a_training_class_that_is_nowhere_else_costs_what_takes_it(tmp_path: Path, stores) -> None:
    """The judged photos show no red: the memory's red objects answer for nothing, and a judged object that takes red is wrong."""
    judged = make_store(tmp_path / "store", samples=[make_sample(index) for index in (1, 2, 4, 5)])
    row = rows_of((judged, stores[1]))["proposals", "trained"]
    assert row.values == (100.0,) and row.details["mean over"] == ["background", "green", "blue"]


def test_seven_classes_leave_the_others_void_and_background_out_of_the_mean(stores) -> None:
    row = rows_of(stores, protocol=RETRIEVAL_7_CLEAN, retrieval_classes=("red", "blue", "pink"))["proposals", "trained"]
    assert row.details["mean over"] == ["red", "blue"] and row.values == (100.0,)
    assert row.details["num_memory"] == 6
    with pytest.raises(DataError, match="judges pink, evaluate.classes names none of these"):
        rows_of(stores, protocol=RETRIEVAL_7_CLEAN, retrieval_classes=("pink",))


def test_squares_weigh_photos_alike_and_pixels_do_not(tmp_path: Path, stores) -> None:
    """A photo of four times the size, all of whose objects are wrong, costs more by pixels than by photos."""
    samples = [make_sample(0, height=96, width=128), *(make_sample(index) for index in (1, 2, 3, 4, 5))]
    judged = make_store(tmp_path / "store", samples=samples)
    clean, published = (
        rows_of((judged, stores[1]), protocol=protocol, train_classes=SWAPPED)["proposals", "trained"]
        for protocol in (RETRIEVAL_21_CLEAN, RETRIEVAL_21_PUBLISHED)
    )
    total = numpy.sum(published.details["confusion"])
    assert total == pytest.approx(6 * 64 * 64, rel=0.02)
    assert numpy.sum(clean.details["confusion"]) < numpy.sum([sample.photo[0].numel() for sample in samples])


def test_photos_without_a_predicted_object_are_background(tmp_path: Path, stores) -> None:
    grey = make_sample(0)
    grey = replace(grey, photo=torch.full_like(grey.photo, 120))
    judged = make_store(tmp_path / "store", samples=[grey, make_sample(1), make_sample(2)])
    row = rows_of((judged, stores[1]))["predicted", "trained"]
    assert row.details["num_objects"] == 2
    assert row.details["class_iou_percent"][1] == 0, "red is there, and was not seen"


def test_a_memory_without_a_class_is_refused(tmp_path: Path, stores) -> None:
    train = make_store(tmp_path / "train", samples=[make_sample(1), make_sample(4)])
    with pytest.raises(DataError, match="needs training objects that show one of its classes, those of other colours do not"):
        rows_of((stores[0], train), protocol=RETRIEVAL_7_CLEAN, retrieval_classes=("red",))


def test_classes_of_another_data_set_meet_by_name(stores) -> None:
    assert rows_of(stores, train_classes={"nothing": [0], "blue": [3], "red": [1], "green": [2]})["proposals", "trained"].values == (100.0,)
    with pytest.raises(ConfigError, match="must share the name of a class, got ground, rot and background, red, green, blue"):
        rows_of(stores, train_classes={"ground": [0], "rot": [1]})


def test_nearest_rows_are_by_cosine_and_the_first_of_several() -> None:
    memory = torch.tensor([[10.0, 0], [0, 1], [0, 2], [1, 1]])
    assert nearest_rows(torch.tensor([[0.1, 0], [0, 5], [3, 2.9]]), memory=memory).tolist() == [0, 1, 3]
    assert nearest_rows(torch.zeros(0, 2), memory=memory).tolist() == []


def test_a_report_sees_objects_with_their_classes_and_the_nearest_of_the_memory(stores) -> None:
    judged, view = judge_store(stores[0], classes=CLASSES, train=stores[1], protocols=[RETRIEVAL_21_CLEAN])
    assert len(judged.retrieved) == NUM_SHOWN and len({one.example.sample for one in judged.retrieved}) == NUM_SHOWN
    colours = ("red", "green", "blue")
    for one in judged.retrieved:
        assert one.true_class == colours[one.example.sample % 3], "photo i shows class 1 + i % 3"
        assert len(one.nearest) == NUM_NEAREST
        assert [name for _, name in one.nearest] == [colours[(near.sample + 20) % 3] for near, _ in one.nearest], "boxes are of the training photos"
        assert [name for _, name in one.nearest[:3]] == [one.true_class] * 3, "three of nine training objects have each colour"
    assert judge_store(stores[0], classes=CLASSES)[0].retrieved == (), "no protocol looks for neighbours"


def test_objects_without_a_class_are_not_shown(stores) -> None:
    judged, _ = judge_store(stores[0], classes={"background": [0], "red": [1]}, train=stores[1], protocols=[RETRIEVAL_21_CLEAN])
    assert {one.true_class for one in judged.retrieved} == {"red"} and {name for one in judged.retrieved for _, name in one.nearest} == {"red"}
