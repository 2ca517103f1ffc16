"""Pixels drawn from labelled photos, with the features that bilinear upsampling gives them."""

from dataclasses import replace

import numpy
import pytest
import torch
from torch.nn.functional import interpolate

from mcdist.errors import DataError
from mcdist.evaluate.label_maps import LabelMaps
from mcdist.evaluate.metrics.labels import label_map
from mcdist.evaluate.protocols.pixel_sample import PixelSample, drawn_pixels, sample_pixels, upsampled_at
from mcdist.store.store import FeatureStore
from tests.evaluate.colour_world import CLASSES, EXTRACT, make_sample, make_store

SIZE_PX = EXTRACT.size_px


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> FeatureStore:
    settings = replace(EXTRACT, patches=True, label_maps=True)
    return make_store(tmp_path_factory.mktemp("pixels") / "store", samples=[make_sample(index) for index in range(6)], settings=settings)


def sampled(
    store: FeatureStore, *, max_bytes: int = 2**20, grid: int = 4, num_draws: int = 3, seed: int = 0, classes: dict[str, list[int]] = CLASSES
) -> PixelSample:
    maps = LabelMaps(store, labels=label_map(classes))
    return sample_pixels(store.column("photos", "patches/trained"), maps=maps, size_px=SIZE_PX, grid=grid, num_draws=num_draws, max_bytes=max_bytes, seed=seed)


def test_features_are_those_of_the_upsampled_map() -> None:
    cells = numpy.random.default_rng(0).normal(size=(3, 5, 2)).astype(numpy.float32)
    whole = interpolate(torch.from_numpy(cells).permute(2, 0, 1)[None], size=(20, 20), mode="bilinear", align_corners=False)[0].flatten(1).T.numpy()
    pixels = numpy.arange(400)
    numpy.testing.assert_allclose(upsampled_at(cells, pixels=pixels, size_px=20), whole, atol=1e-5)


def test_every_draw_has_a_pixel_in_each_square_and_all_pixels_are_equally_likely() -> None:
    numbers = drawn_pixels(4, num_draws=4000, size_px=8, seed=(0,))
    squares = numbers // 8 // 2 * 4 + numbers % 8 // 2
    assert (numpy.sort(squares, axis=1) == numpy.arange(16)).all()
    counts = numpy.bincount(numbers.ravel(), minlength=64)
    assert len(counts) == 64 and counts.min() > 850 and counts.max() < 1150, "1,000 each"


def test_labels_belong_to_their_pixels_and_features_are_standardised_by_all_cells(store: FeatureStore) -> None:
    found = sampled(store)
    assert found.features.shape == (3, 6, 16, 3) and found.labels.shape == (3, 6, 16)
    maps, column = LabelMaps(store, labels=label_map(CLASSES)), store.column("photos", "patches/trained")
    pixels = drawn_pixels(4, num_draws=3, size_px=SIZE_PX, seed=(0, 2))
    assert (found.labels[:, 2].numpy() == maps.squares([2], size_px=SIZE_PX)[0].ravel()[pixels]).all()
    cells = column.read().astype(numpy.float32)
    flat = cells.reshape(-1, 3)
    expected = (upsampled_at(cells[2], pixels=pixels[1], size_px=SIZE_PX) - flat.mean(axis=0)) / flat.std(axis=0)
    numpy.testing.assert_allclose(found.features[1, 2].numpy(), expected, atol=1e-3)


def test_memory_is_bounded_by_fewer_draws_then_a_coarser_grid_then_fewer_photos(store: FeatureStore) -> None:
    shapes = [tuple(sampled(store, max_bytes=4 * 3 * pixels).labels.shape) for pixels in (6 * 48, 6 * 47, 6 * 15, 6, 4)]
    assert shapes == [(3, 6, 16), (2, 6, 16), (1, 6, 9), (1, 6, 1), (1, 4, 1)]


def test_photos_without_a_label_are_refused(store: FeatureStore) -> None:
    with pytest.raises(DataError, match="needs labelled pixels to be fitted on, none of the 6 photos has one; check evaluate.classes"):
        sampled(store, classes={"nothing": [8], "nobody": [9]})


def test_the_seed_decides(store: FeatureStore) -> None:
    assert torch.equal(sampled(store).features, sampled(store).features)
    assert not torch.equal(sampled(store, seed=1).labels, sampled(store).labels)
