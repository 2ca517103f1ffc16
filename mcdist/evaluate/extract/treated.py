"""Treated: a sample as an input has it: its centred square, or a crop that belongs to one augmented pass. Maps are cut and mirrored as the photo is."""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy
import torch

from mcdist.data.shards.sample import Sample
from mcdist.data.views.colour import change_colours
from mcdist.data.views.draw import Colour, Geometry, ViewSettings, draw_geometry, uniforms_of
from mcdist.evaluate.extract.photos import Photos
from mcdist.evaluate.inputs import Augmentation, Input

_STREAM_PASSES = 11
"""Keeps these random numbers apart from those of training's views."""


@dataclass(frozen=True, slots=True)
class TreatedRead:
    """Reads sample `index` of all passes, one pass after the other. It is sent to worker processes."""

    read: Callable[[int], Sample]
    num_photos: int
    treatment: Input
    augment: bool

    def __call__(self, index: int) -> Sample:
        """The photo and its maps, cut out of the stored ones."""
        number, photo = divmod(index, self.num_photos)
        sample = self.read(photo)
        if self.treatment.centre_crop:
            sample = cut(sample, geometry=centred_square(*sample.instances.shape))
        if self.augment and self.treatment.augmentation is not None:
            sample = augmented(sample, augmentation=self.treatment.augmentation, key=(_STREAM_PASSES, number, photo))
        return sample


def treated_photos(read: Callable[[int], Sample], *, num_photos: int, treatment: Input, augment: bool) -> Photos:
    """The photos of a store under an input; with `augment` those of every pass."""
    num_passes = treatment.num_passes if augment else 1
    return Photos(read=TreatedRead(read, num_photos, treatment, augment), num_photos=num_photos * num_passes)


def centred_square(height: int, width: int) -> Geometry:
    """The largest one; half a pixel too far up or left where it cannot be in the middle."""
    side = min(height, width)
    return Geometry(top=(height - side) // 2, left=(width - side) // 2, height=side, width=side, flip=False)


def augmented(sample: Sample, *, augmentation: Augmentation, key: tuple[int, ...]) -> Sample:
    """The crop and the colours that `key` draws. An input with areas above 1 draws again until a crop fits, so the largest area is 1."""
    uniforms = uniforms_of(*key)
    settings = ViewSettings(
        size_px=0,
        crop_scale_min=augmentation.crop_scale_min,
        crop_scale_max=1.0,
        flip_probability=augmentation.flip_probability,
        jitter_probability=0.0,
        brightness=0.0,
        contrast=0.0,
        saturation=0.0,
        hue=0.0,
        grey_probability=0.0,
        blur_probability=0.0,
        foreground_min=0.0,
        foreground_max=1.0,
        max_redraws=0,
        max_objects=1,
    )
    height, width = sample.instances.shape
    sample = cut(sample, geometry=draw_geometry(uniforms, height=height, width=width, settings=settings))
    colour = drawn_colour(augmentation, key=key)
    if not colour.operations:
        return sample
    changed = change_colours(sample.photo[None].float() / 255, colours=[colour])[0]
    return replace(sample, photo=(255 * changed).round().clamp(0, 255).to(torch.uint8))


def drawn_colour(augmentation: Augmentation, *, key: tuple[int, ...]) -> Colour:
    """Brightness, contrast, saturation and hue in this order, each or not: factors in 1 -+ jitter, for hue a shift in -+ jitter."""
    random = numpy.random.default_rng([*key, 1])
    happens, amounts = random.random(4) < augmentation.jitter_probability, random.uniform(-augmentation.jitter, augmentation.jitter, size=4)
    names = ("brightness", "contrast", "saturation", "hue")
    jitter = [(name, float(amount) + (name != "hue")) for name, amount, here in zip(names, amounts, happens, strict=True) if here and augmentation.jitter]
    return Colour(tuple(jitter), grey=False)


def cut(sample: Sample, *, geometry: Geometry) -> Sample:
    """The photo and its maps inside a crop, mirrored where it says so."""
    rows, columns = slice(geometry.top, geometry.top + geometry.height), slice(geometry.left, geometry.left + geometry.width)

    def inside(values: torch.Tensor) -> torch.Tensor:
        part = values[..., rows, columns]
        return (part.flip(-1) if geometry.flip else part).contiguous()

    segments = None if sample.segments is None else inside(sample.segments)
    return replace(sample, photo=inside(sample.photo), instances=inside(sample.instances), segments=segments)
