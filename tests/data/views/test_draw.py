import numpy
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mcdist.data.views.draw import Colour, draw_colour, draw_geometry, uniforms_of
from tests.fixture_types import MakeViewSettings


def test_random_parameters_depend_on_seed_epoch_index_view_and_try():
    base = (1, 2, 3, 0, 0)
    keys = [base] + [base[:place] + (9,) + base[place + 1 :] for place in range(5)]
    drawn = {tuple(uniforms_of(*key).tolist()) for key in keys}
    assert len(drawn) == 6
    assert numpy.array_equal(uniforms_of(*base), uniforms_of(*base))


def test_random_parameters_never_change_between_versions(view_settings: MakeViewSettings):
    uniforms = uniforms_of(0, 0, 0, 0, 0)
    geometry = draw_geometry(uniforms, height=375, width=500, settings=view_settings())
    assert (geometry.top, geometry.left, geometry.height, geometry.width, geometry.flip) == GOLDEN_GEOMETRY
    colour = draw_colour(uniforms, settings=view_settings())
    assert [name for name, _ in colour.jitter] == GOLDEN_JITTER


GOLDEN_GEOMETRY = (81, 98, 270, 238, True)
GOLDEN_JITTER = ["hue", "brightness", "saturation", "contrast"]


@given(height=st.integers(1, 300), width=st.integers(1, 300), seed=st.integers(0, 1000))
def test_a_crop_lies_inside_the_photo_with_the_asked_area(view_settings: MakeViewSettings, height, width, seed):
    settings = view_settings(crop_scale_min=0.2)
    crop = draw_geometry(uniforms_of(seed), height=height, width=width, settings=settings)
    assert 0 <= crop.top <= crop.top + crop.height <= height
    assert 0 <= crop.left <= crop.left + crop.width <= width
    assert min(crop.height, crop.width) >= 1
    if min(height, width) > 100 and max(height, width) < 1.3 * min(height, width):
        assert 0.19 <= crop.height * crop.width / (height * width) <= 1
        assert 0.73 <= crop.width / crop.height <= 1.36


@pytest.mark.parametrize(("height", "width", "crop"), [(10, 1000, (10, 13)), (1000, 10, (13, 10)), (1, 1, (1, 1))])
def test_a_photo_too_long_for_any_crop_gives_its_centre(view_settings: MakeViewSettings, height, width, crop):
    geometry = draw_geometry(uniforms_of(0), height=height, width=width, settings=view_settings(crop_scale_min=0.9))
    assert (geometry.height, geometry.width) == crop
    assert abs(2 * geometry.left + geometry.width - width) <= 1
    assert abs(2 * geometry.top + geometry.height - height) <= 1


def test_colour_changes_stay_in_their_ranges_and_come_in_every_order(view_settings: MakeViewSettings):
    drawn = [draw_colour(uniforms_of(seed), settings=view_settings()) for seed in range(400)]
    jittered = [dict(colour.jitter) for colour in drawn if colour.jitter]
    assert 0.7 < len(jittered) / 400 < 0.9
    assert 0.1 < sum(colour.grey for colour in drawn) / 400 < 0.3
    for name, low, high in (("brightness", 0.6, 1.4), ("contrast", 0.6, 1.4), ("saturation", 0.6, 1.4), ("hue", -0.1, 0.1)):
        amounts = [colour[name] for colour in jittered]
        assert low <= min(amounts) < low + 0.1 * (high - low)
        assert high - 0.1 * (high - low) < max(amounts) <= high
    assert len({tuple(colour) for colour in jittered}) == 24
    assert draw_colour(uniforms_of(0), settings=view_settings(jitter_probability=0.0, grey_probability=0.0)) == Colour((), False)


def test_a_blur_is_drawn_only_where_asked_for_and_leaves_the_other_parameters_alone(view_settings: MakeViewSettings):
    blurred = [draw_colour(uniforms_of(seed), settings=view_settings(blur_probability=0.5)) for seed in range(200)]
    sigmas_px = [colour.blur_sigma_px for colour in blurred if colour.blur_sigma_px]
    assert 70 < len(sigmas_px) < 130
    assert 0.1 <= min(sigmas_px) < 0.3 and 1.8 < max(sigmas_px) <= 2.0
    plain = [draw_colour(uniforms_of(seed), settings=view_settings()) for seed in range(200)]
    assert [(colour.jitter, colour.grey) for colour in blurred] == [(colour.jitter, colour.grey) for colour in plain]
    assert not any(colour.blur_sigma_px for colour in plain)


def test_operations_come_in_order_grey_and_blur_last():
    colour = Colour((("hue", 0.1), ("contrast", 1.2)), grey=True, blur_sigma_px=0.5)
    assert colour.operations == (("hue", 0.1), ("contrast", 1.2), ("grey", 0.0), ("blur", 0.5))
    assert Colour((), grey=False).operations == ()
