"""Zoom extraction: parts, workers and batches change nothing, a stopped one goes on, and numbers are those that training sees."""

from functools import partial
from pathlib import Path

import numpy
import pytest
import torch

from mcdist.data.loader import read_sample
from mcdist.data.readers.open import open_shards
from mcdist.data.shards.sample import Sample
from mcdist.data.views.objects import keep_largest
from mcdist.errors import CheckpointError, DataError, MachineError
from mcdist.store.plan import StorePlan
from mcdist.store.store import FeatureStore
from mcdist.store.writer import StoreWriter, begin_store
from mcdist.zoom.extract import extract_zoom, finish_zoom
from mcdist.zoom.photos import ReadPhoto
from mcdist.zoom.settings import ZoomSettings
from mcdist.zoom.tables import aliases
from tests.zoom.test_vectors import Means

SETTINGS = ZoomSettings(size_px=32, max_objects=2, batch=10)
CPU = torch.device("cpu")


def sample_of(index: int) -> Sample:
    """`index % 4` objects, of which photo 3, 7, ... has one more than the limit; ids have gaps."""
    generator = torch.Generator().manual_seed(index)
    instances = torch.zeros((40, 60), dtype=torch.int16)
    for number in range(index % 4):
        instances[5 : 15 + 5 * number, 20 * number : 20 * number + 12] = 3 * number + 2
    photo = torch.randint(0, 256, (3, 40, 60), generator=generator, dtype=torch.uint8)
    return Sample(key=f"photo_{index}", photo=photo, instances=instances)


def read(index: int) -> ReadPhoto:
    return ReadPhoto(sample_of(index))


def plan(num_photos: int = 21) -> StorePlan:
    return StorePlan(checkpoint={"weights": "a" * 64}, data={}, settings={}, num_photos=num_photos, chunk=8, aliases=aliases(Means()))


def writer_at(folder: Path, num_photos: int = 21) -> StoreWriter:
    return StoreWriter(folder, plan=begin_store(folder, plan=plan(num_photos)))


def columns_of(store: FeatureStore) -> dict[tuple[str, str], numpy.ndarray]:
    return {(table, column): store.column(table, column).read() for table in store.tables for column in store.columns(table)}


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> FeatureStore:
    writer = writer_at(tmp_path_factory.mktemp("zoom") / "store")
    assert extract_zoom(read, writer=writer, backbone=Means(), settings=SETTINGS, device=CPU)
    return finish_zoom(writer, backbone=Means(), num_views=SETTINGS.num_views)


def assert_same(found: FeatureStore, whole: FeatureStore) -> None:
    here, there = columns_of(found), columns_of(whole)
    assert here.keys() == there.keys()
    for name in here:
        numpy.testing.assert_allclose(here[name], there[name], rtol=0, atol=1e-3 if here[name].dtype == numpy.float16 else 0, err_msg=str(name))


def test_each_object_has_a_row_with_the_number_that_training_gives_it(whole: FeatureStore) -> None:
    expected = [(index, number) for index in range(21) for number in range(1, min(index % 4, 2) + 1)]
    columns = columns_of(whole)
    assert list(zip(columns["objects", "photo"].tolist(), columns["objects", "number"].tolist(), strict=True)) == expected
    assert columns["photos", "dropped"].tolist() == [int(index % 4 == 3) for index in range(21)]
    for row, (index, number) in enumerate(expected):
        stored = sample_of(index).instances.to(torch.uint8).numpy()
        assert columns["objects", "area_px"][row] == (keep_largest(stored, max_objects=2).apply(stored) == number).sum()


@pytest.mark.parametrize(("num_parts", "num_workers"), [(2, 0), (3, 0), (1, 2)])
def test_parts_and_workers_change_nothing(tmp_path: Path, whole: FeatureStore, num_parts: int, num_workers: int) -> None:
    writer = writer_at(tmp_path / "store")
    for part in range(num_parts):
        assert extract_zoom(read, writer=writer, backbone=Means(), settings=SETTINGS, device=CPU, part=part, num_parts=num_parts, num_workers=num_workers)
    assert_same(finish_zoom(writer, backbone=Means(), num_views=SETTINGS.num_views), whole)


def test_a_stopped_extraction_goes_on_with_the_chunk_it_was_in(tmp_path: Path, whole: FeatureStore) -> None:
    writer, asked, seen = writer_at(tmp_path / "store"), iter(range(100)), []
    assert not extract_zoom(read, writer=writer, backbone=Means(), settings=SETTINGS, device=CPU, should_stop=lambda: next(asked) == 3)
    with pytest.raises(DataError, match="incomplete"):
        finish_zoom(writer, backbone=Means(), num_views=SETTINGS.num_views)
    again = writer_at(tmp_path / "store")
    assert extract_zoom(read, writer=again, backbone=Means(), settings=SETTINGS, device=CPU, on_progress=lambda *done: seen.append(done))
    assert seen == [(8, 13), (13, 13)]
    assert_same(finish_zoom(again, backbone=Means(), num_views=SETTINGS.num_views), whole)


def test_photos_without_an_object_have_no_row_even_if_all_are_so(tmp_path: Path) -> None:
    writer = writer_at(tmp_path / "store", num_photos=3)
    assert extract_zoom(lambda index: read(4 * index), writer=writer, backbone=Means(), settings=SETTINGS, device=CPU)
    store = finish_zoom(writer, backbone=Means(), num_views=SETTINGS.num_views)
    assert (store.num_photos, store.num_rows("objects"), store.column("objects", "vectors/zoom").row_shape) == (3, 0, (9,))


def test_a_network_without_a_last_convolution_answers_to_the_joined_kind_too(tmp_path: Path) -> None:
    backbone = Means(with_last_convolution=False)
    made = StorePlan(checkpoint={}, data={}, settings={}, num_photos=4, chunk=8, aliases=aliases(backbone))
    writer = StoreWriter(tmp_path / "store", plan=begin_store(tmp_path / "store", plan=made))
    assert extract_zoom(read, writer=writer, backbone=backbone, settings=SETTINGS, device=CPU)
    store = finish_zoom(writer, backbone=backbone, num_views=SETTINGS.num_views)
    assert not store.has("objects", "vectors/head")
    assert numpy.array_equal(store.column("objects", "vectors/zoom").read(), store.column("objects", "vectors/last").read())


class Broken(Means):
    def forward(self, image: torch.Tensor) -> torch.Tensor:
        return super().forward(image) / 0


def test_vectors_that_are_not_finite_are_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"must be finite, those of \d+ objects are not \(the first: of photo 1\)"):
        extract_zoom(read, writer=writer_at(tmp_path / "store"), backbone=Broken(), settings=SETTINGS, device=CPU)


def test_two_hundred_objects_a_photo_are_all_cut(tmp_path: Path) -> None:
    instances = (torch.arange(1, 201, dtype=torch.int16).reshape(10, 20)).repeat_interleave(4, 0).repeat_interleave(4, 1)
    sample = Sample(key="many", photo=torch.randint(0, 256, (3, 40, 80), dtype=torch.uint8), instances=instances)
    settings = ZoomSettings(size_px=16, max_objects=200, num_views=1)
    writer = writer_at(tmp_path / "store", num_photos=1)
    assert extract_zoom(lambda index: ReadPhoto(sample), writer=writer, backbone=Means(), settings=settings, device=CPU)
    assert finish_zoom(writer, backbone=Means(), num_views=SETTINGS.num_views).column("objects", "number").read().tolist() == list(range(1, 201))


def test_a_store_of_a_run_that_was_taken_over_is_not_written_any_more(tmp_path: Path) -> None:
    attempt = tmp_path / "000001"
    attempt.mkdir()
    begun = begin_store(tmp_path / "store", plan=plan(), made_in=attempt)
    writer = StoreWriter(tmp_path / "store", plan=begun, made_in=attempt)
    assert extract_zoom(read, writer=writer, backbone=Means(), settings=SETTINGS, device=CPU, num_parts=3)
    attempt.rmdir()
    with pytest.raises(MachineError, match="cannot write chunk_000001"):
        extract_zoom(read, writer=writer, backbone=Means(), settings=SETTINGS, device=CPU)
    assert [path.name for path in sorted((tmp_path / "store").glob("chunk_*"))] == ["chunk_000000"]


def test_real_photos_are_zoomed_without_a_warning(make_shards: object, tmp_path: Path) -> None:
    reader = open_shards(make_shards(3), cache_dir="", cache_gib=1.0, stage_to="", verify="never", ffcv_cache="os")  # type: ignore[operator]
    writer = writer_at(tmp_path / "store", num_photos=3)
    assert extract_zoom(partial(read_of, reader), writer=writer, backbone=Means(), settings=SETTINGS, device=CPU)
    assert finish_zoom(writer, backbone=Means(), num_views=SETTINGS.num_views).num_rows("objects") == 6


def read_of(reader: object, index: int) -> ReadPhoto:
    return ReadPhoto(read_sample(reader, index))  # type: ignore[arg-type]
