from dataclasses import replace

import numpy
import pytest
import torch
from torch import Tensor

from mcdist.data.batch import Batch
from mcdist.data.order import Request
from mcdist.data.views.draw import Colour
from mcdist.errors import CheckpointError, ConfigError
from mcdist.view_cache.drawn import Drawn
from mcdist.view_cache.layout import BATCH_VIEWS, ViewLayout
from mcdist.view_cache.make import Look, make_chunk, requests_of

LAYOUT = ViewLayout(num_pairs=3, num_views=2, channels=3, grid=8, size_px=8, dtype="fp16")


def drawn_of(requests: list[Request]) -> Drawn:
    """Views whose pixels are 10 x photo + pair, one more in the key view."""
    colours = tuple(Colour(jitter=(), grey=False) for _ in requests)
    values = torch.tensor([10 * request.index + request.epoch for request in requests], dtype=torch.uint8)
    query = values[:, None, None, None].expand(-1, 3, 8, 8).contiguous(memory_format=torch.channels_last)
    maps = values[:, None, None].expand(-1, 8, 8).to(torch.int16)
    batch = Batch(query, query + 1, maps, maps + 1, torch.tensor([request.index for request in requests]), 0, 0, 0, query_colours=colours, key_colours=colours)
    return Drawn(batch, numpy.array([[request.index, request.epoch, 0, 0] for request in requests], dtype=numpy.int16))


def look_with(*, seen: list[int]) -> Look:
    """A backbone that gives the pixels back, and notes how many images it was given."""

    def backbone(images: Tensor) -> Tensor:
        seen.append(len(images))
        return images * 255

    return Look(backbone, num_views=2, device=torch.device("cpu"), mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0))


def test_every_pair_of_every_photo_is_at_its_place_and_the_backbone_always_sees_as_many_images() -> None:
    seen: list[int] = []
    told: list[int] = []
    batches = [drawn_of(requests) for requests in requests_of(range(4, 9), layout=LAYOUT)]
    columns = make_chunk(iter(batches), num_photos=5, layout=LAYOUT, look=look_with(seen=seen), on_views=told.append)["photos"]
    assert seen == [BATCH_VIEWS] * 2
    assert sum(told) == 2 * 5 * 3
    assert columns["features"].shape == (5, 3, 2, 8, 8, 3)
    for photo in range(5):
        for pair in range(3):
            value = 10 * (photo + 4) + pair
            numpy.testing.assert_allclose(columns["features"][photo, pair, 0], value, rtol=1e-3)
            numpy.testing.assert_allclose(columns["features"][photo, pair, 1], value + 1, rtol=1e-3)
            assert (columns["instances"][photo, pair, 0] == value).all()
            assert (columns["instances"][photo, pair, 1] == value + 1).all()
            assert columns["counts"][photo, pair].tolist() == [photo + 4, pair, 0, 0]


def test_where_nothing_looks_at_the_key_view_the_query_alone_is_kept_and_still_as_many_images_go_through() -> None:
    seen: list[int] = []
    layout = replace(LAYOUT, num_views=1)
    look = look_with(seen=seen)
    look.num_views = 1
    columns = make_chunk((drawn_of(requests) for requests in requests_of(range(4, 12), layout=layout)), num_photos=8, layout=layout, look=look)["photos"]
    assert seen == [BATCH_VIEWS] * 2
    assert columns["features"].shape == (8, 3, 1, 8, 8, 3) and columns["instances"].shape == (8, 3, 1, 8, 8)
    values = 10 * numpy.arange(4, 12)[:, None] + numpy.arange(3)
    assert (columns["instances"][..., 0, 0, 0] == values).all()
    numpy.testing.assert_allclose(columns["features"][:, :, 0, 0, 0, 0], values, rtol=1e-3)


@pytest.mark.parametrize(
    ("factor", "error", "message"),
    [
        (float("nan"), CheckpointError, "features that are not finite"),
        (float("inf"), CheckpointError, "features that are not finite"),
        (1e6, ConfigError, "views.cache_dtype=fp16 ends at 65504; set views.cache_dtype=fp32"),
    ],
)
def test_features_that_cannot_be_kept_are_one_sentence(factor: float, error: type[Exception], message: str) -> None:
    look = Look(lambda images: images * factor, num_views=2, device=torch.device("cpu"), mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0))
    with pytest.raises(error, match=message):
        make_chunk(iter([drawn_of(requests) for requests in requests_of(range(4, 8), layout=LAYOUT)]), num_photos=4, layout=LAYOUT, look=look)
