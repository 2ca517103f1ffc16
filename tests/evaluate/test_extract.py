"""Extraction: every photo once whatever the parts, a stopped one goes on, and what the store holds is what the photos show."""

from dataclasses import replace
from pathlib import Path

import numpy
import pytest
import torch

from mcdist.data.shards.sample import Sample
from mcdist.errors import DataError, ShardError
from mcdist.evaluate.extract.extract import extract, finish
from mcdist.evaluate.extract.photos import Photos, prepared_batches
from mcdist.records.names import ENCODERS, MASKS
from mcdist.store.store import FeatureStore
from tests.evaluate.colour_world import EXTRACT, ColourEncoder, encoder_pair, make_sample, make_store, make_writer, segments_of

SAMPLES = [make_sample(index) for index in range(12)]
PHOTOS = Photos(read=make_sample, num_photos=12)


def all_columns(store: FeatureStore) -> dict[tuple[str, str], numpy.ndarray]:
    return {(table, column): store.column(table, column).read() for table in store.tables for column in store.columns(table)}


def assert_equal(one: FeatureStore, other: FeatureStore) -> None:
    here, there = all_columns(one), all_columns(other)
    assert here.keys() == there.keys()
    assert not [name for name in here if not numpy.array_equal(here[name], there[name])]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> FeatureStore:
    return make_store(tmp_path_factory.mktemp("whole") / "store", samples=SAMPLES)


@pytest.mark.parametrize("num_parts", [2, 3, 5])
def test_parts_give_the_store_of_one_process_and_embed_each_photo_once(tmp_path: Path, whole: FeatureStore, num_parts: int) -> None:
    read: list[int] = []

    def reading(index: int) -> Sample:
        read.append(index)
        return make_sample(index)

    writer = make_writer(tmp_path / "store", num_photos=12)
    for part in range(num_parts):
        extract(Photos(read=reading, num_photos=12), writer=writer, encoders=encoder_pair(), settings=EXTRACT, part=part, num_parts=num_parts)
    assert sorted(read) == list(range(12))
    assert_equal(finish(writer, encoders=encoder_pair(), settings=EXTRACT), whole)


def test_workers_change_no_bit(tmp_path: Path, whole: FeatureStore) -> None:
    writer = make_writer(tmp_path / "store", num_photos=12)
    extract(PHOTOS, writer=writer, encoders=encoder_pair(), settings=EXTRACT, num_workers=2)
    assert_equal(finish(writer, encoders=encoder_pair(), settings=EXTRACT), whole)


def test_a_stopped_extraction_goes_on_with_the_chunk_it_was_in(tmp_path: Path, whole: FeatureStore) -> None:
    def stop_after_seven(num_done: int, num_photos: int) -> None:
        if num_done > 7:
            raise KeyboardInterrupt

    writer = make_writer(tmp_path / "store", num_photos=12)
    with pytest.raises(KeyboardInterrupt):
        extract(PHOTOS, writer=writer, encoders=encoder_pair(), settings=EXTRACT, on_progress=stop_after_seven)
    with pytest.raises(DataError, match="chunk_000001 is incomplete .* run the same command again"):
        finish(writer, encoders=encoder_pair(), settings=EXTRACT)
    heard: list[tuple[int, int]] = []
    again = make_writer(tmp_path / "store", num_photos=12)
    extract(PHOTOS, writer=again, encoders=encoder_pair(), settings=EXTRACT, on_progress=lambda *done: heard.append(done))
    assert heard == [(5, 7), (7, 7)]
    assert_equal(finish(again, encoders=encoder_pair(), settings=EXTRACT), whole)


def test_objects_have_their_photo_number_area_and_box(whole: FeatureStore) -> None:
    columns = all_columns(whole)
    assert columns["proposals", "photo"].tolist() == list(range(12))
    assert set(columns["proposals", "number"].tolist()) == {1}
    for index, (area_px, box) in enumerate(zip(columns["proposals", "area_px"], columns["proposals", "box"], strict=True)):
        inside = SAMPLES[index].instances.numpy() == 1
        assert area_px == inside.sum()
        rows, columns_inside = numpy.nonzero(inside)
        assert box.tolist() == [rows.min() / 48, columns_inside.min() / 64, (rows.max() + 1) / 48, (columns_inside.max() + 1) / 64]


def test_the_ids_of_the_ground_truth_are_counted_without_void(whole: FeatureStore) -> None:
    columns = all_columns(whole)
    for index, sample in enumerate(SAMPLES):
        truth = segments_of(sample)
        expected = numpy.bincount(truth[truth != 255], minlength=256)
        for masks in MASKS:
            rows = columns[masks, "photo"] == index
            found = columns["photos", f"background/{masks}"][index] + columns[masks, "histogram"][rows].sum(axis=0)
            assert found.tolist() == expected.tolist()


def test_without_ground_truth_nothing_is_counted(tmp_path: Path) -> None:
    samples = [make_sample(index, with_segments=False) for index in range(3)]
    store = make_store(tmp_path / "store", samples=samples, settings=replace(EXTRACT, with_truth=False))
    assert not store.has("predicted", "histogram") and not store.has("photos", "background/predicted")
    with pytest.raises(DataError, match="expected ground truth of photo_0 to evaluate with"):
        make_store(tmp_path / "other", samples=samples)


def test_patches_are_the_feature_maps_in_fp16(tmp_path: Path) -> None:
    settings = replace(EXTRACT, patches=True)
    store = make_store(tmp_path / "store", samples=SAMPLES[:3], settings=settings)
    for encoder in ENCODERS:
        patches = store.column("photos", f"patches/{encoder}")
        assert (patches.dtype, patches.row_shape, len(patches)) == (numpy.float16, (8, 8, 3), 3)
    ready = next(prepared_batches(PHOTOS, batches=[[1]], size_px=64, with_truth=True))
    expected = ColourEncoder().backbone((ready[0].image[None] / 255 - ColourEncoder().mean) / ColourEncoder().std)
    found = torch.from_numpy(store.column("photos", "patches/trained backbone").read()[1]).float()
    torch.testing.assert_close(found, expected[0].permute(1, 2, 0), atol=1e-3, rtol=1e-3)


def test_a_shared_backbone_is_stored_once_and_read_by_both_names(tmp_path: Path, whole: FeatureStore) -> None:
    store = make_store(tmp_path / "store", samples=SAMPLES, encoders=replace(encoder_pair(), shared_backbone=True))
    assert_equal(store, whole)  # both colour encoders have the same backbone
    assert store.num_bytes < whole.num_bytes
    assert not list(store.folder.glob("chunk_*/*initial_backbone*"))


class BrokenShards:
    def __call__(self, index: int) -> Sample:
        if index == 3:
            raise ShardError("shard-0001.tar, sample photo_3: the photo cannot be decoded")
        return make_sample(index)


@pytest.mark.parametrize("num_workers", [0, 2])
def test_a_sample_that_cannot_be_read_is_its_own_sentence(num_workers: int) -> None:
    batches = prepared_batches(Photos(read=BrokenShards(), num_photos=12), batches=[[0, 1], [2, 3]], size_px=64, with_truth=True, num_workers=num_workers)
    assert [photo.key for photo in next(batches)] == ["photo_0", "photo_1"]
    with pytest.raises(ShardError, match=r"^shard-0001.tar, sample photo_3: the photo cannot be decoded$"):
        next(batches)
