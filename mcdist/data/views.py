"""Views: two random views of a photo, each with one geometry for photo and instance map.

Random parameters depend on (seed, epoch, sample index, view, try) alone, so workers and ranks do not change what is seen.
"""

import math
from dataclasses import dataclass

import numpy
import torch
from jaxtyping import Float, Float64, Int16
from torch import Tensor
from torchvision import tv_tensors
from torchvision.transforms.v2 import functional

from mcdist.data.normalise import IMAGENET_MEAN, IMAGENET_STD
from mcdist.data.sample import Sample
from mcdist.types import VOID

CROP_ATTEMPTS = 10
ASPECT_MIN, ASPECT_MAX = 3 / 4, 4 / 3
"""Width over height of a crop, as in RandomResizedCrop."""

_STREAM_VIEWS = 3


@dataclass(frozen=True, slots=True)
class ViewSettings:
    """How views are drawn; the meaning of each is in `mcdist.config.ViewsConfig`."""

    size_px: int
    crop_scale_min: float
    crop_scale_max: float
    flip_probability: float
    jitter_probability: float
    brightness: float
    contrast: float
    saturation: float
    hue: float
    grey_probability: float
    foreground_min: float
    foreground_max: float
    max_redraws: int
    max_objects: int


@dataclass(frozen=True, slots=True)
class Geometry:
    """The crop of a view in pixels of the photo, and whether it is mirrored after resizing."""

    top: int
    left: int
    height: int
    width: int
    flip: bool


@dataclass(frozen=True, slots=True)
class Colour:
    """The colour change of a view: `(name, amount)` in the order of application, then grey or not."""

    jitter: tuple[tuple[str, float], ...]
    grey: bool


@dataclass(frozen=True, slots=True)
class TwoViews:
    """Two views of one photo. Object i is the same object in both maps; a view may miss it.

    `num_redrawn`: views (0..2) that took more than one try. `emptied`: no try was acceptable, both maps are void everywhere.
    `num_dropped_objects`: objects of the photo beyond `max_objects`, void in both maps.
    """

    index: int
    query_image: Float[Tensor, "3 S S"]
    key_image: Float[Tensor, "3 S S"]
    query_instances: Int16[Tensor, "S S"]
    key_instances: Int16[Tensor, "S S"]
    num_redrawn: int
    emptied: bool
    num_dropped_objects: int


def two_views(sample: Sample, *, seed: int, epoch: int, index: int, settings: ViewSettings) -> TwoViews:
    """Draw both views of a sample.

    A view whose foreground (instances >= 1) is less than `foreground_min` or more than `foreground_max` of its area is drawn again,
    up to `max_redraws` times, on the map alone. If that fails for either view the sample keeps its place and both maps become void:
    it then adds neither positives nor background to any term.

    Returns:
        TwoViews: images float32, normalised by ImageNet's mean and standard deviation; maps int16.
    """
    instances, num_dropped = keep_largest(sample.instances, max_objects=settings.max_objects)
    drawn = [_draw(instances, seed=seed, epoch=epoch, index=index, view=view, settings=settings) for view in (0, 1)]
    emptied = not all(view.accepted for view in drawn)
    images = [_image(sample.photo, geometry=view.geometry, colour=view.colour, size_px=settings.size_px) for view in drawn]
    maps = [torch.full_like(view.instances, VOID) if emptied else view.instances for view in drawn]
    return TwoViews(
        index=index,
        query_image=images[0],
        key_image=images[1],
        query_instances=maps[0],
        key_instances=maps[1],
        num_redrawn=sum(view.tries > 1 for view in drawn),
        emptied=emptied,
        num_dropped_objects=num_dropped,
    )


@dataclass(frozen=True, slots=True)
class _Drawn:
    geometry: Geometry
    colour: Colour
    instances: Int16[Tensor, "S S"]
    tries: int
    accepted: bool


def _draw(instances: Int16[Tensor, "H W"], *, seed: int, epoch: int, index: int, view: int, settings: ViewSettings) -> _Drawn:
    """The first acceptable try, or the last one."""
    for attempt in range(settings.max_redraws + 1):
        uniforms = _uniforms(seed, epoch, index, view, attempt)
        geometry = draw_geometry(uniforms, height=instances.shape[0], width=instances.shape[1], settings=settings)
        cropped = _transform(tv_tensors.Mask(instances), geometry=geometry, size_px=settings.size_px)
        share = int((cropped > 0).sum()) / cropped.numel()
        accepted = settings.foreground_min <= share <= settings.foreground_max
        if accepted:
            break
    return _Drawn(geometry, draw_colour(uniforms, settings=settings), cropped, tries=attempt + 1, accepted=accepted)


_NUM_GEOMETRY = 4 * CROP_ATTEMPTS + 1
_NUM_COLOUR = 10


def _uniforms(*key: int) -> Float64[numpy.ndarray, " N"]:
    """All random numbers of one try, in [0, 1): raw Philox words, whose stream numpy keeps for ever."""
    words = numpy.random.Philox(numpy.random.SeedSequence([_STREAM_VIEWS, *key])).random_raw(_NUM_GEOMETRY + _NUM_COLOUR)
    return (words >> numpy.uint64(11)) * 2.0**-53


def draw_geometry(uniforms: Float64[numpy.ndarray, " N"], *, height: int, width: int, settings: ViewSettings) -> Geometry:
    """A crop of a uniform share of the area and a log-uniform aspect; after 10 misfits the largest central crop of an allowed aspect."""
    flip = bool(uniforms[4 * CROP_ATTEMPTS] < settings.flip_probability)
    for scale, aspect, down, right in uniforms[: 4 * CROP_ATTEMPTS].reshape(-1, 4).tolist():
        area = height * width * (settings.crop_scale_min + scale * (settings.crop_scale_max - settings.crop_scale_min))
        ratio = ASPECT_MIN * (ASPECT_MAX / ASPECT_MIN) ** aspect
        crop_height, crop_width = round(math.sqrt(area / ratio)), round(math.sqrt(area * ratio))
        if 0 < crop_height <= height and 0 < crop_width <= width:
            return Geometry(int(down * (height - crop_height + 1)), int(right * (width - crop_width + 1)), crop_height, crop_width, flip)
    crop_height, crop_width = min(height, round(width / ASPECT_MIN)), min(width, round(height * ASPECT_MAX))
    return Geometry((height - crop_height) // 2, (width - crop_width) // 2, crop_height, crop_width, flip)


def draw_colour(uniforms: Float64[numpy.ndarray, " N"], *, settings: ViewSettings) -> Colour:
    """Brightness, contrast and saturation factors in `1 -+ strength`, a hue shift in `-+ hue`, in random order."""
    happens, grey, *amounts = uniforms[_NUM_GEOMETRY : _NUM_GEOMETRY + 6].tolist()
    turns = numpy.argsort(uniforms[_NUM_GEOMETRY + 6 : _NUM_GEOMETRY + 10], kind="stable").tolist()
    strengths = (("brightness", settings.brightness), ("contrast", settings.contrast), ("saturation", settings.saturation), ("hue", settings.hue))
    jitter = [(name, (2 * amount - 1) * strength + (name != "hue")) for (name, strength), amount in zip(strengths, amounts, strict=True)]
    applied = [jitter[turn] for turn in turns if strengths[turn][1] > 0] if happens < settings.jitter_probability else []
    return Colour(tuple(applied), grey < settings.grey_probability)


def _transform(pixels: Tensor, *, geometry: Geometry, size_px: int) -> Tensor:
    """Crop, then resize (an Image bilinearly with antialiasing, a Mask to the nearest), then mirror: the same for both."""
    cropped = functional.crop(pixels, geometry.top, geometry.left, geometry.height, geometry.width)
    if isinstance(pixels, tv_tensors.Mask):
        resized = tv_tensors.Mask(_resize_to_nearest(cropped, size_px=size_px))
    else:
        resized = functional.resize(cropped, [size_px, size_px], antialias=True)
    return (functional.horizontal_flip(resized) if geometry.flip else resized).as_subclass(Tensor)


def _resize_to_nearest(mask: Tensor, *, size_px: int) -> Tensor:
    """The pixel whose centre is nearest, as "nearest-exact". torchvision resizes a Mask with "nearest", up to half a pixel beside its photo."""
    rows, columns = (((torch.arange(size_px) + 0.5) * (length / size_px)).long() for length in mask.shape[-2:])
    return mask[..., rows[:, None], columns]


def shift_hue(image: Float[Tensor, "3 S S"], *, amount: float) -> Float[Tensor, "3 S S"]:
    """Turn the hue of an RGB image in 0..1 by `amount` of the full circle; brightest and darkest channel of each pixel keep their values.

    channel_n = max - (max - min) clip(min(k, 4 - k), 0, 1), k = (n + 6 hue) mod 6, n = 5, 3, 1 for red, green, blue: the same values
    as torchvision's adjust_hue in a third of its time, which was half of a sample's.
    """
    brightest, chroma = image.amax(0), image.amax(0) - image.amin(0)
    red, green, blue = image
    turn = torch.where(blue == brightest, 4 * chroma + red - green, 2 * chroma + blue - red).where(green.maximum(blue) > red, green - blue)
    sixths = turn.div_(chroma.clamp_min(1e-9)).add_(6 * amount) + torch.tensor([5.0, 3.0, 1.0])[:, None, None]
    sixths -= 6 * (sixths / 6).floor_()
    return brightest - chroma * torch.minimum(sixths, 4 - sixths).clamp_(0, 1)


_JITTER = {
    "brightness": functional.adjust_brightness,
    "contrast": functional.adjust_contrast,
    "saturation": functional.adjust_saturation,
    "hue": lambda image, amount: shift_hue(image, amount=amount),
}


def _image(photo: Tensor, *, geometry: Geometry, colour: Colour, size_px: int) -> Float[Tensor, "3 S S"]:
    """Colour comes last, on the small view: resizing is linear, and far fewer pixels are left."""
    image = functional.to_dtype(_transform(tv_tensors.Image(photo), geometry=geometry, size_px=size_px), torch.float32, scale=True)
    for name, amount in colour.jitter:
        image = _JITTER[name](image, amount)
    if colour.grey:
        image = functional.rgb_to_grayscale(image, num_output_channels=3)
    return functional.normalize(image, mean=list(IMAGENET_MEAN), std=list(IMAGENET_STD))


def keep_largest(instances: Int16[Tensor, "H W"], *, max_objects: int) -> tuple[Int16[Tensor, "H W"], int]:
    """Number the objects 1..n without gaps, in the order of their ids; of more than `max_objects` the largest stay, the others become void.

    Returns:
        The map, and how many objects became void. Of two equally large ones the lower id stays.
    """
    values = instances.numpy()
    if values.max(initial=0) <= 1:
        return instances, 0
    areas = numpy.bincount(numpy.maximum(values, 0).ravel())
    ids = numpy.flatnonzero(areas[1:]) + 1
    if ids[-1] == len(ids) <= max_objects:
        return instances, 0
    kept = numpy.sort(ids[numpy.argsort(-areas[ids], kind="stable")][:max_objects])
    table = numpy.full(len(areas) + 1, VOID, dtype=numpy.int16)  # its last entry is the one that -1 finds
    table[0] = 0
    table[kept] = numpy.arange(1, len(kept) + 1)
    return torch.from_numpy(table[values]), len(ids) - len(kept)
