"""The colours by which PASCAL VOC and DAVIS show the numbers of a palette PNG (`mcdist.data.pictures.png`). No torch here."""

import numpy
from jaxtyping import UInt8


def bit_colours() -> UInt8[numpy.ndarray, "256 3"]:
    """The colours of PASCAL VOC and DAVIS: the bits of a number are dealt out to red, green and blue in turn, the lowest ones to the highest bits."""
    numbers = numpy.arange(256)
    colours = numpy.zeros((256, 3), dtype=numpy.uint8)
    for turn in range(8):
        for band in range(3):
            bit = (numbers >> (3 * turn + band)) & 1
            colours[:, band] |= (bit << (7 - turn)).astype(numpy.uint8)
    return colours
