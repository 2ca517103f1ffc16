import numpy
import pytest
import torch
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from torchvision.transforms.v2 import functional

from mcdist.data.normalise import IMAGENET_MEAN, IMAGENET_STD
from mcdist.data.sample import Sample
from mcdist.data.views import Colour, _draw, _uniforms, draw_colour, draw_geometry, keep_largest, shift_hue, two_views
from mcdist.types import VOID

PLAIN = dict(jitter_probability=0.0, grey_probability=0.0)


def sample_of(instances: torch.Tensor, photo: torch.Tensor | None = None) -> Sample:
    photo = torch.full((3, *instances.shape), 128, dtype=torch.uint8) if photo is None else photo
    return Sample(key="test", photo=photo, instances=instances.to(torch.int16))


def square(height: int = 40, width: int = 50, *, top: int = 10, left: int = 10, size: int = 20) -> torch.Tensor:
    instances = torch.zeros(height, width, dtype=torch.int16)
    instances[top : top + size, left : left + size] = 1
    return instances


def red_of(image: torch.Tensor) -> torch.Tensor:
    """Red channel in 0..255, normalisation undone."""
    return (image[0] * IMAGENET_STD[0] + IMAGENET_MEAN[0]) * 255


@pytest.mark.parametrize("axis", [0, 1])
@pytest.mark.parametrize("seed", range(8))
def test_photo_and_map_share_one_geometry(view_settings, axis, seed):
    ramp = torch.arange(1, 53).expand(40, 52) if axis else torch.arange(1, 41)[:, None].expand(40, 52)
    photo = (4 * ramp).to(torch.uint8).expand(3, 40, 52).contiguous()
    settings = view_settings(**PLAIN, foreground_max=1.0, max_objects=254)
    views = two_views(sample_of(ramp, photo), seed=seed, epoch=0, index=0, settings=settings)
    for image, instances in ((views.query_image, views.query_instances), (views.key_image, views.key_instances)):
        assert (red_of(image) / 4 - instances).abs().max() < 1.5


def test_an_id_is_the_same_object_in_both_views(view_settings):
    instances = torch.zeros(60, 60, dtype=torch.int16)
    for row, name in enumerate((3, 7, 9)):  # ids with gaps
        instances[20 * row : 20 * row + 20, 5:55] = name
    photo = (instances * 20).to(torch.uint8).expand(3, 60, 60).contiguous()
    views = two_views(sample_of(instances, photo), seed=1, epoch=0, index=0, settings=view_settings(**PLAIN, crop_scale_min=0.8, size_px=64))
    for image, mapped in ((views.query_image, views.query_instances), (views.key_image, views.key_instances)):
        assert set(mapped.unique().tolist()) == {0, 1, 2, 3}
        for name, stored in ((1, 3), (2, 7), (3, 9)):
            assert red_of(image)[mapped == name].median() == pytest.approx(20 * stored, abs=0.5)


def test_void_of_the_photo_stays_void(view_settings):
    instances = square()
    instances[:, 30:] = VOID
    views = two_views(sample_of(instances), seed=0, epoch=0, index=0, settings=view_settings(crop_scale_min=1.0))
    assert VOID in views.query_instances
    assert not views.emptied


@hypothesis_settings(max_examples=30)
@given(seed=st.integers(0, 10_000))
def test_an_accepted_view_keeps_the_foreground_limits(view_settings, seed):
    settings = view_settings(foreground_min=0.2, foreground_max=0.5)
    views = two_views(sample_of(square()), seed=seed, epoch=0, index=0, settings=settings)
    for mapped in (views.query_instances, views.key_instances):
        if views.emptied:
            assert (mapped == VOID).all()
        else:
            assert 0.2 <= (mapped > 0).float().mean() <= 0.5


def test_redrawn_views_are_counted_and_take_the_next_try(view_settings):
    settings = view_settings(foreground_min=0.3)
    counts = [two_views(sample_of(square()), seed=seed, epoch=0, index=0, settings=settings).num_redrawn for seed in range(30)]
    assert set(counts) == {0, 1, 2}
    once = view_settings(foreground_min=0.3, max_redraws=0)
    assert all(two_views(sample_of(square()), seed=seed, epoch=0, index=0, settings=once).num_redrawn == 0 for seed in range(5))
    second = next(seed for seed in range(30) if _draw(square(), seed=seed, epoch=0, index=0, view=0, settings=settings).tries == 2)
    assert _draw(square(), seed=second, epoch=0, index=0, view=0, settings=settings).geometry == draw_geometry(
        _uniforms(second, 0, 0, 0, 1), height=40, width=50, settings=settings
    )


@pytest.mark.parametrize("instances", [torch.zeros(40, 50), square(size=1), torch.ones(40, 50), torch.full((40, 50), VOID)])
def test_a_sample_without_an_acceptable_view_keeps_its_place_and_is_void_everywhere(view_settings, instances):
    views = two_views(sample_of(instances), seed=0, epoch=0, index=5, settings=view_settings(max_redraws=3, crop_scale_min=0.9))
    assert views.emptied
    assert views.index == 5
    assert views.num_redrawn == 2
    assert (views.query_instances == VOID).all()
    assert (views.key_instances == VOID).all()
    assert views.query_image.isfinite().all()


def test_random_parameters_depend_on_seed_epoch_index_view_and_try():
    base = (1, 2, 3, 0, 0)
    keys = [base] + [base[:place] + (9,) + base[place + 1 :] for place in range(5)]
    drawn = {tuple(_uniforms(*key).tolist()) for key in keys}
    assert len(drawn) == 6
    assert numpy.array_equal(_uniforms(*base), _uniforms(*base))


def test_random_parameters_never_change_between_versions(view_settings):
    uniforms = _uniforms(0, 0, 0, 0, 0)
    geometry = draw_geometry(uniforms, height=375, width=500, settings=view_settings())
    assert (geometry.top, geometry.left, geometry.height, geometry.width, geometry.flip) == GOLDEN_GEOMETRY
    colour = draw_colour(uniforms, settings=view_settings())
    assert [name for name, _ in colour.jitter] == GOLDEN_JITTER


GOLDEN_GEOMETRY = (81, 98, 270, 238, True)
GOLDEN_JITTER = ["hue", "brightness", "saturation", "contrast"]


@given(height=st.integers(1, 300), width=st.integers(1, 300), seed=st.integers(0, 1000))
def test_a_crop_lies_inside_the_photo_with_the_asked_area(view_settings, height, width, seed):
    settings = view_settings(crop_scale_min=0.2)
    crop = draw_geometry(_uniforms(seed), height=height, width=width, settings=settings)
    assert 0 <= crop.top <= crop.top + crop.height <= height
    assert 0 <= crop.left <= crop.left + crop.width <= width
    assert min(crop.height, crop.width) >= 1
    if min(height, width) > 100 and max(height, width) < 1.3 * min(height, width):
        assert 0.19 <= crop.height * crop.width / (height * width) <= 1
        assert 0.73 <= crop.width / crop.height <= 1.36


@pytest.mark.parametrize(("height", "width", "crop"), [(10, 1000, (10, 13)), (1000, 10, (13, 10)), (1, 1, (1, 1))])
def test_a_photo_too_long_for_any_crop_gives_its_centre(view_settings, height, width, crop):
    geometry = draw_geometry(_uniforms(0), height=height, width=width, settings=view_settings(crop_scale_min=0.9))
    assert (geometry.height, geometry.width) == crop
    assert abs(2 * geometry.left + geometry.width - width) <= 1
    assert abs(2 * geometry.top + geometry.height - height) <= 1


def test_images_are_normalised_by_imagenet(view_settings):
    views = two_views(sample_of(square()), seed=0, epoch=0, index=0, settings=view_settings(**PLAIN))
    wanted = (128 / 255 - torch.tensor(IMAGENET_MEAN)) / torch.tensor(IMAGENET_STD)
    assert views.query_image.dtype == torch.float32
    torch.testing.assert_close(views.query_image, wanted[:, None, None].expand(3, 32, 32))


def test_grey_views_have_equal_channels(view_settings):
    photo = torch.randint(0, 256, (3, 40, 50), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    views = two_views(sample_of(square(), photo), seed=0, epoch=0, index=0, settings=view_settings(grey_probability=1.0, jitter_probability=0.0))
    pixels = views.key_image * torch.tensor(IMAGENET_STD)[:, None, None] + torch.tensor(IMAGENET_MEAN)[:, None, None]
    torch.testing.assert_close(pixels[0], pixels[1])
    torch.testing.assert_close(pixels[0], pixels[2])


def test_colour_changes_stay_in_their_ranges_and_come_in_every_order(view_settings):
    drawn = [draw_colour(_uniforms(seed), settings=view_settings()) for seed in range(400)]
    jittered = [dict(colour.jitter) for colour in drawn if colour.jitter]
    assert 0.7 < len(jittered) / 400 < 0.9
    assert 0.1 < sum(colour.grey for colour in drawn) / 400 < 0.3
    for name, low, high in (("brightness", 0.6, 1.4), ("contrast", 0.6, 1.4), ("saturation", 0.6, 1.4), ("hue", -0.1, 0.1)):
        amounts = [colour[name] for colour in jittered]
        assert low <= min(amounts) < low + 0.1 * (high - low)
        assert high - 0.1 * (high - low) < max(amounts) <= high
    assert len({tuple(colour) for colour in jittered}) == 24
    assert draw_colour(_uniforms(0), settings=view_settings(jitter_probability=0.0, grey_probability=0.0)) == Colour((), False)


@pytest.mark.parametrize("amount", [-0.5, -0.07, 0.0, 0.1, 0.5])
def test_shifting_the_hue_gives_what_torchvision_gives(amount):
    image = torch.rand(3, 30, 30, generator=torch.Generator().manual_seed(0))
    image[:, :10] = (image[:, :10] * 3).round() / 3  # ties between channels
    image[:, 10] = image[:1, 10]  # grey
    torch.testing.assert_close(shift_hue(image, amount=amount), functional.adjust_hue(image, amount), atol=1e-5, rtol=0)


def test_of_too_many_objects_the_largest_stay_and_the_others_become_void():
    instances = torch.tensor([[1, 2, 2, 2], [3, 3, 0, VOID], [8, 8, 8, 8]], dtype=torch.int16)
    kept, num_dropped = keep_largest(instances, max_objects=2)
    assert kept.tolist() == [[VOID, 1, 1, 1], [VOID, VOID, 0, VOID], [2, 2, 2, 2]]
    assert num_dropped == 2


def test_of_two_equally_large_objects_the_lower_id_stays():
    kept, num_dropped = keep_largest(torch.tensor([[5, 5, 2, 2]], dtype=torch.int16), max_objects=1)
    assert kept.tolist() == [[VOID, VOID, 1, 1]]
    assert num_dropped == 1


@given(st.lists(st.integers(-1, 254), min_size=1, max_size=60), st.integers(1, 10))
def test_kept_objects_are_numbered_without_gaps(values, max_objects):
    instances = torch.tensor([values], dtype=torch.int16)
    kept, num_dropped = keep_largest(instances, max_objects=max_objects)
    ids, stored = sorted(set(kept[kept > 0].tolist())), set(instances[instances > 0].tolist())
    assert ids == list(range(1, len(ids) + 1))
    assert len(ids) + num_dropped == len(stored)
    assert torch.equal(kept == 0, instances == 0)
