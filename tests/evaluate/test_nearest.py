"""Nearest objects: of other photos, by the frozen start and by the trained embedding, chosen without labels."""

from dataclasses import replace
from pathlib import Path

import torch

from mcdist.evaluate.nearest import nearest_objects
from mcdist.evaluate.view import StoreView
from mcdist.store.store import FeatureStore
from tests.evaluate.colour_world import EXTRACT, make_sample, make_store


def view_of(store: FeatureStore) -> StoreView:
    return StoreView(store, dataset="colours")


def test_the_nearest_objects_after_training_have_the_colour_of_the_object_and_no_photo_is_its_own_neighbour(tmp_path: Path) -> None:
    samples = [make_sample(index, with_segments=False) for index in range(30)]
    store = make_store(tmp_path / "store", samples=samples, settings=replace(EXTRACT, with_truth=False))
    found = nearest_objects(view_of(store))
    assert len({one.example.sample for one in found}) == len(found) == 6
    for one in found:
        assert len(one.before) == len(one.after) == 5
        assert one.example.sample not in {near.sample for near in (*one.before, *one.after)}
        assert {near.sample % 3 for near in one.after} == {one.example.sample % 3}
    assert found == nearest_objects(view_of(store))  # the same ones every time


def test_fewer_objects_have_fewer_neighbours_and_one_photo_none(tmp_path: Path) -> None:
    three = nearest_objects(view_of(make_store(tmp_path / "three", samples=[make_sample(index) for index in range(3)])))
    assert [(len(one.before), len(one.after)) for one in three] == [(2, 2)] * 3
    assert nearest_objects(view_of(make_store(tmp_path / "one", samples=[make_sample(0)]))) == ()
    assert nearest_objects(view_of(make_store(tmp_path / "none", samples=[]))) == ()


def test_without_given_masks_the_predicted_ones_are_shown(tmp_path: Path) -> None:
    samples = [replace(make_sample(index), instances=torch.zeros(48, 64, dtype=torch.int16)) for index in range(4)]
    store = make_store(tmp_path / "store", samples=samples)
    assert store.num_rows("proposals") == 0 and len(nearest_objects(view_of(store))) == 4
