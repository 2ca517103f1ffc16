"""Cuts: a square around the object's core, inside the photo, with the object's share of each cell."""

import numpy
import pytest
import torch

from mcdist.errors import ConfigError
from mcdist.zoom.cut import cut_objects, square_around
from mcdist.zoom.extents import extents_of
from mcdist.zoom.settings import ZoomSettings


def square(core: list[int], *, margin: float = 1.0, height: int = 100, width: int = 200) -> tuple[int, int, int, int]:
    found = square_around(numpy.array(core), margin=margin, height=height, width=width)
    return found.top, found.left, found.height, found.width


def test_the_square_has_the_objects_centre_and_its_longest_side_with_the_margin() -> None:
    assert square([40, 50, 60, 90]) == (30, 50, 40, 40)
    assert square([40, 50, 60, 90], margin=1.5) == (20, 40, 60, 60)


def test_a_square_beyond_the_photo_is_moved_inside_and_cut_where_the_photo_is_too_small() -> None:
    assert square([0, 150, 20, 200]) == (0, 150, 50, 50)
    assert square([10, 20, 90, 180], margin=1.2) == (0, 4, 100, 192)
    assert square([0, 0, 100, 200], margin=2.0) == (0, 0, 100, 200)


def test_a_tiny_object_is_seen_with_its_surroundings() -> None:
    assert square([50, 50, 51, 51]) == (42, 42, 16, 16)


def cut(background: str, *, num_views: int = 1) -> tuple[torch.Tensor, torch.Tensor]:
    photo = torch.full((3, 64, 64), 200, dtype=torch.uint8)
    objects = numpy.zeros((64, 64), dtype=numpy.int16)
    objects[16:48, 16:32] = 1
    photo[:, 16:48, 16:32] = 50
    settings = ZoomSettings(size_px=32, margin=1.0, background=background, num_views=num_views)  # type: ignore[arg-type]
    return cut_objects(photo, objects, extents=extents_of(objects), settings=settings, grid=4, mean=(0.4, 0.4, 0.4))


def test_the_weights_are_the_objects_share_of_each_cell() -> None:
    images, weights = cut("keep")
    assert images.shape == (1, 1, 3, 32, 32)
    assert weights[0, 0].tolist() == [[0, 1, 1, 0]] * 4  # 16 of the 32 columns, in the middle
    assert images[0, 0, 0].unique().tolist() == [50, 200]


def test_a_grey_background_is_the_backbones_mean_colour() -> None:
    assert cut("grey")[0][0, 0, 0].unique().tolist() == [50, 102]


def test_further_pairs_of_views_have_wider_margins() -> None:
    images, weights = cut("keep", num_views=3)
    assert images.shape[1] == 2
    assert weights[0, 1].sum() < weights[0, 0].sum()


@pytest.mark.parametrize(("name", "value"), [("margin", 0.9), ("margin", float("nan")), ("num_views", 0), ("num_views", 7), ("size_px", 0)])
def test_a_setting_out_of_range_is_refused(name: str, value: object) -> None:
    with pytest.raises(ConfigError, match=name.removeprefix("num_")):
        ZoomSettings(**{name: value})  # type: ignore[arg-type]
