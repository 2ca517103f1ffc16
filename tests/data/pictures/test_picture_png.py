"""PNG of a picture: the pixels come back at every level, and the quick one is little larger."""

import io

import numpy
import pytest
from PIL import Image

from mcdist.data.pictures.picture_png import QUICK_LEVEL, encode_picture_png


def smooth_picture(mode: str) -> Image.Image:
    """A gradient with some noise, as photos are."""
    ramp = numpy.linspace(0, 200, 90, dtype=numpy.float32)[:, None, None] + numpy.linspace(0, 40, 120, dtype=numpy.float32)[None, :, None]
    noise = numpy.random.default_rng(0).integers(0, 8, (90, 120, len(mode)))
    pixels = (ramp + noise).astype(numpy.uint8)
    return Image.fromarray(pixels[..., 0] if len(mode) == 1 else pixels)


@pytest.mark.parametrize("mode", ["L", "RGB", "RGBA"])
def test_the_pixels_come_back_at_every_level(mode: str):
    picture = smooth_picture(mode)
    for content in (encode_picture_png(picture), encode_picture_png(picture, level=QUICK_LEVEL), encode_picture_png(picture, level=0)):
        with Image.open(io.BytesIO(content)) as read:
            assert (read.format, read.mode) == ("PNG", mode)
            assert numpy.array_equal(numpy.asarray(read), numpy.asarray(picture))


def test_the_default_is_pillows_and_the_quick_level_compresses_too():
    picture, pillows = smooth_picture("RGB"), io.BytesIO()
    picture.save(pillows, format="PNG")
    assert encode_picture_png(picture) == pillows.getvalue(), "shards of converted photos keep their bytes"
    quick, flat = (len(encode_picture_png(picture, level=level)) for level in (QUICK_LEVEL, 0))
    assert quick < 1.1 * len(pillows.getvalue()) < 0.7 * flat
