import numpy
import pytest

from mcdist.choices import CacheDtype
from mcdist.view_cache.layout import CHUNK_BYTES, ViewLayout


def layout_of(*, num_pairs: int, num_views: int = 2, dtype: CacheDtype = "fp16", size_px: int = 160) -> ViewLayout:
    return ViewLayout(num_pairs=num_pairs, num_views=num_views, channels=320, grid=size_px // 8, size_px=size_px, dtype=dtype)


@pytest.mark.parametrize("dtype", ["fp16", "fp32"])
@pytest.mark.parametrize("num_pairs", [1, 3])
@pytest.mark.parametrize("num_views", [1, 2])
def test_the_bytes_of_a_photo_are_those_of_its_columns(num_pairs: int, num_views: int, dtype: CacheDtype) -> None:
    layout = layout_of(num_pairs=num_pairs, num_views=num_views, dtype=dtype)
    assert sum(column.nbytes for column in layout.empty(5).values()) == 5 * layout.photo_bytes


@pytest.mark.parametrize("num_pairs", [1, 2, 3, 4, 8, 20, 100])
@pytest.mark.parametrize("num_views", [1, 2])
def test_a_chunk_is_whole_batches_of_about_its_bytes(num_pairs: int, num_views: int) -> None:
    layout = layout_of(num_pairs=num_pairs, num_views=num_views)
    assert layout.chunk * num_pairs % layout.batch_pairs == 0
    assert layout.chunk * layout.photo_bytes <= CHUNK_BYTES or layout.chunk <= layout.batch_pairs


def test_features_have_their_channels_last() -> None:
    columns = layout_of(num_pairs=2, size_px=16).empty(3)
    assert columns["features"].shape == (6, 2, 2, 2, 320)
    assert (columns["features"].dtype, columns["instances"].dtype) == (numpy.float16, numpy.int8)
