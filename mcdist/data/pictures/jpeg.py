"""JPEG: the pixels of a plain JPEG, in full or at 1/2, 1/4 or 1/8, which libjpeg-turbo reads with fewer sums. `photo.py` decodes what is not plain."""

import io

import numpy
import simplejpeg
from jaxtyping import UInt8
from PIL import Image

from mcdist.data.pictures.exif import UPRIGHT
from mcdist.data.pictures.header import JPEG_START, read_header

PLAIN_COLOURS = ("YCbCr", "Gray")


def is_plain_jpeg(content: bytes) -> bool:
    """A JPEG of colour or grey, upright as it is stored."""
    if not content.startswith(JPEG_START):
        return False
    try:
        colours = simplejpeg.decode_jpeg_header(content)[2]
        return colours in PLAIN_COLOURS and read_header(content).orientation == UPRIGHT
    except ValueError:
        return False


def jpeg_size(content: bytes) -> tuple[int, int]:
    """(width, height) of a JPEG as it is stored; ValueError where its header is damaged."""
    height, width = simplejpeg.decode_jpeg_header(content)[:2]
    return width, height


def decode_plain_jpeg(content: bytes, *, shrink: int = 1) -> UInt8[numpy.ndarray, "H W 3"]:
    """RGB pixels, `ceil(height / shrink)` by `ceil(width / shrink)`.

    In full the same as Pillow's and torchvision's, bit for bit. At 1/n each is about the mean of n x n.

    Raises:
        ValueError: the file is damaged, also where libjpeg could continue with a warning.
    """
    if shrink == 1:
        return simplejpeg.decode_jpeg(content)
    height, width = simplejpeg.decode_jpeg_header(content)[:2]
    return simplejpeg.decode_jpeg(content, min_height=-(-height // shrink), min_width=-(-width // shrink), min_factor=shrink)


def encode_jpeg(pixels: UInt8[numpy.ndarray, "H W 3"], *, quality: int) -> bytes:
    """RGB pixels as JPEG, by Pillow; the same bytes for the same pixels."""
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, format="JPEG", quality=quality)
    return file.getvalue()
