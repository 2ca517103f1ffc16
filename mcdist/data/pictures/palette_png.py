"""Palette PNG of a map: each number as itself and in a colour of its own, as PASCAL VOC and DAVIS store theirs. No torch here."""

import io

import numpy
from jaxtyping import Integer, UInt8
from PIL import Image


def encode_palette_png(numbers: Integer[numpy.ndarray, "H W"]) -> bytes:
    """A PNG whose indices are the numbers, 0..255; 0 is black."""
    picture = Image.fromarray(numbers.astype(numpy.uint8))
    picture.putpalette(bit_colours().tobytes())
    content = io.BytesIO()
    picture.save(content, format="PNG")
    return content.getvalue()


def bit_colours() -> UInt8[numpy.ndarray, "256 3"]:
    """The colours of PASCAL VOC and DAVIS: the bits of a number are dealt out to red, green and blue in turn, the lowest ones to the highest bits."""
    numbers = numpy.arange(256)
    colours = numpy.zeros((256, 3), dtype=numpy.uint8)
    for turn in range(8):
        for band in range(3):
            bit = (numbers >> (3 * turn + band)) & 1
            colours[:, band] |= (bit << (7 - turn)).astype(numpy.uint8)
    return colours
