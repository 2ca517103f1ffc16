import io
from dataclasses import replace
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from PIL import Image

from mcdist.data.finish import finish_images
from mcdist.data.pictures.png import encode_map
from mcdist.data.shards.raw_sample import RawSample
from mcdist.data.shards.sample import Sample, decode_sample
from mcdist.data.views.draw import ViewSettings, draw_geometry, uniforms_of
from mcdist.data.views.objects import keep_largest
from mcdist.data.views.two_views import DrawnView, TwoViews, draw_view, two_views, two_views_of_file
from mcdist.errors import ShardError
from mcdist.types import IMAGENET_MEAN, IMAGENET_STD, VOID
from tests.fixture_types import MakeViewSettings

PLAIN = dict(jitter_probability=0.0, grey_probability=0.0)


def sample_of(instances: torch.Tensor, photo: torch.Tensor | None = None) -> Sample:
    photo = torch.full((3, *instances.shape), 128, dtype=torch.uint8) if photo is None else photo
    return Sample(key="test", photo=photo, instances=instances.to(torch.int16))


def square(height: int = 40, width: int = 50, *, top: int = 10, left: int = 10, size: int = 20) -> torch.Tensor:
    instances = torch.zeros(height, width, dtype=torch.int16)
    instances[top : top + size, left : left + size] = 1
    return instances


def red_of(image: torch.Tensor) -> torch.Tensor:
    """Red channel in 0..255."""
    return image[0].float()


def finished(views: TwoViews) -> torch.Tensor:
    """The query image, ready for an encoder."""
    return finish_images(views.query_image[None], colours=[views.query_colour], mean=IMAGENET_MEAN, std=IMAGENET_STD)[0]


def drawn_view(instances: torch.Tensor, *, seed: int, settings: ViewSettings) -> DrawnView:
    """The query view of epoch 0, sample 0."""
    stored = instances.to(torch.uint8).numpy()
    return draw_view(stored, keep_largest(stored, max_objects=settings.max_objects), key=(seed, 0, 0, 0), settings=settings)


@pytest.mark.parametrize("axis", [0, 1])
@pytest.mark.parametrize("seed", range(8))
def test_photo_and_map_share_one_geometry(view_settings: MakeViewSettings, axis, seed):
    ramp = torch.arange(1, 53).expand(40, 52) if axis else torch.arange(1, 41)[:, None].expand(40, 52)
    photo = (4 * ramp).to(torch.uint8).expand(3, 40, 52).contiguous()
    settings = view_settings(**PLAIN, foreground_max=1.0, max_objects=254)
    views = two_views(sample_of(ramp, photo), seed=seed, epoch=0, index=0, settings=settings)
    for image, instances in ((views.query_image, views.query_instances), (views.key_image, views.key_instances)):
        assert (red_of(image) / 4 - instances).abs().max() < 1.5


def test_an_id_is_the_same_object_in_both_views(view_settings: MakeViewSettings):
    instances = torch.zeros(60, 60, dtype=torch.int16)
    for row, name in enumerate((3, 7, 9)):  # ids with gaps
        instances[20 * row : 20 * row + 20, 5:55] = name
    photo = (instances * 20).to(torch.uint8).expand(3, 60, 60).contiguous()
    views = two_views(sample_of(instances, photo), seed=1, epoch=0, index=0, settings=view_settings(**PLAIN, crop_scale_min=0.8, size_px=64))
    for image, mapped in ((views.query_image, views.query_instances), (views.key_image, views.key_instances)):
        assert set(mapped.unique().tolist()) == {0, 1, 2, 3}
        for name, stored in ((1, 3), (2, 7), (3, 9)):
            assert red_of(image)[mapped == name].median() == pytest.approx(20 * stored, abs=0.5)


def test_void_of_the_photo_stays_void(view_settings: MakeViewSettings):
    instances = square()
    instances[:, 30:] = VOID
    views = two_views(sample_of(instances), seed=0, epoch=0, index=0, settings=view_settings(crop_scale_min=1.0))
    assert VOID in views.query_instances
    assert not views.emptied


@hypothesis_settings(max_examples=30)
@given(seed=st.integers(0, 10_000))
def test_an_accepted_view_keeps_the_foreground_limits(view_settings: MakeViewSettings, seed):
    settings = view_settings(foreground_min=0.2, foreground_max=0.5)
    views = two_views(sample_of(square()), seed=seed, epoch=0, index=0, settings=settings)
    for mapped in (views.query_instances, views.key_instances):
        if views.emptied:
            assert (mapped == VOID).all()
        else:
            assert 0.2 <= (mapped > 0).float().mean() <= 0.5


def test_redrawn_views_are_counted_and_take_the_next_try(view_settings: MakeViewSettings):
    settings = view_settings(foreground_min=0.3)
    counts = [two_views(sample_of(square()), seed=seed, epoch=0, index=0, settings=settings).num_redrawn for seed in range(30)]
    assert set(counts) == {0, 1, 2}
    once = view_settings(foreground_min=0.3, max_redraws=0)
    assert all(two_views(sample_of(square()), seed=seed, epoch=0, index=0, settings=once).num_redrawn == 0 for seed in range(5))
    second = next(seed for seed in range(30) if drawn_view(square(), seed=seed, settings=settings).tries == 2)
    assert drawn_view(square(), seed=second, settings=settings).geometry == draw_geometry(
        uniforms_of(second, 0, 0, 0, 1), height=40, width=50, settings=settings
    )


@pytest.mark.parametrize("instances", [torch.zeros(40, 50), square(size=1), torch.ones(40, 50), torch.full((40, 50), VOID)])
def test_a_sample_without_an_acceptable_view_keeps_its_place_and_is_void_everywhere(view_settings: MakeViewSettings, instances):
    views = two_views(sample_of(instances), seed=0, epoch=0, index=5, settings=view_settings(max_redraws=3, crop_scale_min=0.9))
    assert views.emptied
    assert views.index == 5
    assert views.num_redrawn == 2
    assert (views.query_instances == VOID).all()
    assert (views.key_instances == VOID).all()
    assert finished(views).isfinite().all()


def test_images_are_normalised_by_imagenet(view_settings: MakeViewSettings):
    views = two_views(sample_of(square()), seed=0, epoch=0, index=0, settings=view_settings(**PLAIN))
    wanted = (128 / 255 - torch.tensor(IMAGENET_MEAN)) / torch.tensor(IMAGENET_STD)
    image = finished(views)
    assert image.dtype == torch.float32
    torch.testing.assert_close(image, wanted[:, None, None].expand(3, 32, 32))


def test_grey_views_have_equal_channels(view_settings: MakeViewSettings):
    photo = torch.randint(0, 256, (3, 40, 50), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    views = two_views(sample_of(square(), photo), seed=0, epoch=0, index=0, settings=view_settings(grey_probability=1.0, jitter_probability=0.0))
    pixels = (
        finish_images(views.key_image[None], colours=[views.key_colour], mean=IMAGENET_MEAN, std=IMAGENET_STD)[0] * torch.tensor(IMAGENET_STD)[:, None, None]
        + torch.tensor(IMAGENET_MEAN)[:, None, None]
    )
    torch.testing.assert_close(pixels[0], pixels[1])
    torch.testing.assert_close(pixels[0], pixels[2])


def raw_of(sample: Sample, *, kind: str) -> RawSample:
    file = io.BytesIO()
    Image.fromarray(sample.photo.permute(1, 2, 0).numpy()).save(file, format=kind, quality=95, subsampling=0)
    return RawSample(key="test", where="shard 0, sample test", photo=file.getvalue(), instances=encode_map(sample.instances.numpy()), segments=None)


def ramps(height: int = 200, width: int = 240) -> Sample:
    """Each pixel's colour says where it is, and so does its object."""
    columns = torch.arange(width).expand(height, width)
    photo = torch.stack([columns, torch.arange(height)[:, None].expand(height, width), columns]).to(torch.uint8)
    return sample_of(1 + columns // 16, photo)


def assert_same_views(first: TwoViews, second: TwoViews) -> None:
    for name in ("query_image", "key_image", "query_instances", "key_instances"):
        assert torch.equal(getattr(first, name), getattr(second, name)), name
    assert (first.query_colour, first.key_colour, first.num_redrawn) == (second.query_colour, second.key_colour, second.num_redrawn)


WIDE: dict[str, Any] = dict(crop_scale_min=0.8, foreground_max=1.0, max_objects=254)


@pytest.mark.parametrize(("kind", "decode"), [("PNG", "exact"), ("PNG", "scaled"), ("JPEG", "exact")])
def test_a_file_gives_the_views_of_its_decoded_sample(view_settings: MakeViewSettings, kind, decode):
    raw = raw_of(ramps(), kind=kind)
    where: dict[str, Any] = dict(seed=3, epoch=1, index=2, settings=view_settings(**WIDE))
    assert_same_views(two_views_of_file(raw, decode=decode, **where), two_views(decode_sample(raw), **where))


@pytest.mark.parametrize("decode", ["exact", "scaled"])
def test_a_sample_kept_as_pixels_gives_the_views_of_its_file(view_settings: MakeViewSettings, decode):
    sample = ramps()
    photo, instances = sample.photo.permute(1, 2, 0).numpy(), sample.instances.to(torch.uint8).numpy()
    pixels = RawSample(key="test", where="here", photo=photo, instances=instances, segments=None)
    where: dict[str, Any] = dict(seed=3, epoch=1, index=2, settings=view_settings(**WIDE), decode=decode)
    assert_same_views(two_views_of_file(pixels, **where), two_views_of_file(raw_of(sample, kind="PNG"), **where))


@pytest.mark.parametrize("seed", range(4))
def test_a_scaled_photo_gives_nearly_the_same_view_and_its_map_follows(view_settings: MakeViewSettings, seed):
    raw = raw_of(ramps(), kind="JPEG")
    where: dict[str, Any] = dict(seed=seed, epoch=0, index=0, settings=view_settings(**WIDE))
    exact, scaled = (two_views_of_file(raw, decode=decode, **where) for decode in ("exact", "scaled"))
    assert (exact.query_image.int() - scaled.query_image.int()).abs().max() <= 6  # borders on the grid of 4, at one level a pixel
    for image, instances in ((scaled.query_image, scaled.query_instances), (scaled.key_image, scaled.key_instances)):
        centres = 16 * (instances.float() - 0.5)
        assert (image[0] - centres).abs().max() <= 8 + 5  # half an object, and what a view's pixel spans


def test_a_photo_no_larger_than_its_views_is_never_scaled(view_settings: MakeViewSettings):
    raw = raw_of(ramps(60, 70), kind="JPEG")
    where: dict[str, Any] = dict(seed=0, epoch=0, index=0, settings=view_settings(**WIDE))
    assert_same_views(two_views_of_file(raw, decode="scaled", **where), two_views_of_file(raw, decode="exact", **where))


@pytest.mark.parametrize("decode", ["exact", "scaled"])
def test_a_map_of_another_size_than_its_photo_is_refused(view_settings: MakeViewSettings, decode):
    raw = replace(raw_of(ramps(), kind="JPEG"), instances=encode_map(ramps(200, 256).instances.numpy()))
    with pytest.raises(ShardError, match="shard 0, sample test: the instance map is 256 x 200, its photo"):
        two_views_of_file(raw, seed=0, epoch=0, index=0, settings=view_settings(**WIDE), decode=decode)
