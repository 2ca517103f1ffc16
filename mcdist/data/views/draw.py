"""Draw: the random parameters of a view, crop and colour, from (seed, epoch, sample index, view, try) alone."""

import math
from dataclasses import dataclass

import numpy
from jaxtyping import Float64

CROP_ATTEMPTS = 10
ASPECT_MIN, ASPECT_MAX = 3 / 4, 4 / 3
"""Width over height of a crop, as in RandomResizedCrop."""
BLUR_SIGMA_MIN_PX, BLUR_SIGMA_MAX_PX = 0.1, 2.0
"""As in SimCLR and MoCo v2."""

_STREAM_VIEWS = 3
_NUM_GEOMETRY = 4 * CROP_ATTEMPTS + 1
_NUM_COLOUR = 10
_NUM_BLUR = 2


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
    blur_probability: float
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
    """The colour change of a view: `(name, amount)` in the order of application, then grey or not, then a Gaussian blur (0: none)."""

    jitter: tuple[tuple[str, float], ...]
    grey: bool
    blur_sigma_px: float = 0.0

    @property
    def operations(self) -> tuple[tuple[str, float], ...]:
        """All of them as `(name, amount)`, in the order of application."""
        grey = (("grey", 0.0),) if self.grey else ()
        blur = (("blur", self.blur_sigma_px),) if self.blur_sigma_px else ()
        return (*self.jitter, *grey, *blur)


def uniforms_of(*key: int) -> Float64[numpy.ndarray, " N"]:
    """All random numbers of one try, in [0, 1): raw Philox words, whose stream numpy keeps for ever."""
    words = numpy.random.Philox(numpy.random.SeedSequence([_STREAM_VIEWS, *key])).random_raw(_NUM_GEOMETRY + _NUM_COLOUR + _NUM_BLUR)
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
    """Brightness, contrast and saturation factors in `1 -+ strength`, a hue shift in `-+ hue`, in random order; then grey, then blur."""
    happens, grey, *amounts = uniforms[_NUM_GEOMETRY : _NUM_GEOMETRY + 6].tolist()
    turns = numpy.argsort(uniforms[_NUM_GEOMETRY + 6 : _NUM_GEOMETRY + 10], kind="stable").tolist()
    strengths = (("brightness", settings.brightness), ("contrast", settings.contrast), ("saturation", settings.saturation), ("hue", settings.hue))
    jitter = [(name, (2 * amount - 1) * strength + (name != "hue")) for (name, strength), amount in zip(strengths, amounts, strict=True)]
    applied = [jitter[turn] for turn in turns if strengths[turn][1] > 0] if happens < settings.jitter_probability else []
    blurs, sigma = uniforms[-_NUM_BLUR:].tolist()
    blur_sigma_px = BLUR_SIGMA_MIN_PX + sigma * (BLUR_SIGMA_MAX_PX - BLUR_SIGMA_MIN_PX) if blurs < settings.blur_probability else 0.0
    return Colour(tuple(applied), grey < settings.grey_probability, blur_sigma_px)
