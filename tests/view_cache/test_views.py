import pickle
from pathlib import Path
from typing import Any

import numpy
import pytest
import torch

from mcdist.data.batch import Batch
from mcdist.data.loader import make_loader
from mcdist.data.order import Request, micro_batches
from mcdist.data.readers.webdataset import WebDatasetReader
from mcdist.errors import DataError
from mcdist.store.plan import StorePlan
from mcdist.store.store import FeatureStore
from mcdist.store.writer import StoreWriter, begin_store
from mcdist.view_cache.layout import COLUMNS, ViewLayout
from mcdist.view_cache.views import CachedViews
from tests.fixture_types import MakeShards, MakeViewSettings

LAYOUT = ViewLayout(num_pairs=2, num_views=2, channels=64, grid=4, size_px=32, dtype="fp16")


@pytest.fixture
def store(tmp_path: Path) -> FeatureStore:
    """Seven photos in chunks of three, random; photo 5 could not be read for its second pair."""
    generator = numpy.random.default_rng(0)
    plan = StorePlan(checkpoint={}, data={}, settings={}, num_photos=7, chunk=3)
    writer = StoreWriter(tmp_path / "store", plan=begin_store(tmp_path / "store", plan=plan))
    for place, photos in enumerate(plan.chunks):
        columns = LAYOUT.empty(len(photos))
        columns["features"][:] = generator.normal(size=columns["features"].shape)
        columns["instances"][:] = generator.integers(-1, 3, columns["instances"].shape)
        columns["counts"][:] = [[1, 0, 2, 0]]
        shaped = {name: values.reshape(len(photos), 2, *values.shape[1:]) for name, values in columns.items()}
        if 5 in photos:
            shaped["counts"][photos.index(5), 1] = [0, 0, 0, 1]
        writer.write(place, {"photos": shaped})
    return writer.finish({"photos": COLUMNS})


@pytest.fixture
def views(store: FeatureStore, make_shards: MakeShards) -> CachedViews:
    return CachedViews(store, reader=WebDatasetReader(make_shards(7)))


def batch_of(views: CachedViews, *requests: Request) -> Batch:
    batch = views.__getitems__(requests)
    assert isinstance(batch, Batch)
    return batch


def test_epoch_e_reads_pair_e_mod_n_of_each_photo(views: CachedViews, store: FeatureStore) -> None:
    wanted = {name: store.column("photos", name).read() for name in COLUMNS}
    batch = batch_of(views, Request(epoch=3, index=6), Request(epoch=0, index=1), Request(epoch=2, index=2))
    assert batch.indices.tolist() == [6, 1, 2]
    assert batch.query_images.dtype == torch.float16
    assert batch.query_images.is_contiguous(memory_format=torch.channels_last)
    for place, (photo, pair) in enumerate([(6, 1), (1, 0), (2, 0)]):
        for view, (images, maps) in enumerate([(batch.query_images, batch.query_instances), (batch.key_images, batch.key_instances)]):
            numpy.testing.assert_array_equal(images[place].permute(1, 2, 0).numpy(), wanted["features"][photo, pair, view])
            numpy.testing.assert_array_equal(maps[place].numpy(), wanted["instances"][photo, pair, view])
    assert (batch.num_redrawn, batch.num_emptied, batch.num_dropped_objects, batch.num_bad, batch.bad) == (3, 0, 6, 0, ())


def test_a_photo_that_could_not_be_read_is_counted_and_named_in_its_own_epoch(views: CachedViews) -> None:
    batch = batch_of(views, Request(epoch=5, index=5), Request(epoch=4, index=5))
    assert (batch.num_bad, batch.num_redrawn) == (1, 1)
    (line,) = batch.bad
    assert '"epoch": 5' in line
    assert '"key": "photo_0005"' in line
    assert "could not be read when its views were cached" in line


def test_it_travels_to_a_worker_without_what_is_open(views: CachedViews) -> None:
    whole = batch_of(views, *(Request(epoch=0, index=index) for index in range(7)))
    sent = pickle.dumps(views)
    assert len(sent) < 5_000
    torch.testing.assert_close(batch_of(pickle.loads(sent), Request(epoch=0, index=4)).key_images, whole.key_images[4:5], rtol=0, atol=0)


@pytest.mark.parametrize("num_workers", [0, 1])
def test_the_loader_gives_them_in_the_order_of_the_run(views: CachedViews, view_settings: MakeViewSettings, num_workers: int) -> None:
    run: dict[str, Any] = dict(seed=5, global_batch=4, accumulation_steps=2, block=3, num_lanes=2, rank=0, num_ranks=1, consumed=0, num_steps=4)
    where: dict[str, Any] = dict(num_workers=num_workers, prefetch=2, pin_memory=False)
    batches = list(make_loader(views.reader, views=view_settings(), made_before=views, **run, **where))
    wanted = list(micro_batches(num_samples=7, **run))
    assert [batch.indices.tolist() for batch in batches] == [[request.index for request in part] for part in wanted]
    for batch, requests in zip(batches, wanted, strict=True):
        torch.testing.assert_close(batch.key_images, batch_of(views, *requests).key_images, rtol=0, atol=0)


def test_a_damaged_chunk_is_an_error_as_a_value(views: CachedViews, store: FeatureStore) -> None:
    path = store.folder / "chunk_000001" / "photos.features.npy"
    path.write_bytes(path.read_bytes()[:-10])
    error = views.__getitems__([Request(epoch=0, index=4)])
    assert isinstance(error, DataError)
    assert "photos.features.npy is damaged" in str(error)
