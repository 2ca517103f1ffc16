"""JPEG: the pixels of a plain JPEG, in full or at 1/2, 1/4 or 1/8, which libjpeg-turbo reads with fewer sums. What is not plain is left to others."""

import struct

import numpy
import simplejpeg
from jaxtyping import UInt8

START = b"\xff\xd8"
EXIF = b"Exif\0\0"
APPLICATION_MARKERS = range(0xE0, 0xF0)
PLAIN_COLOURS = ("YCbCr", "Gray")
ORIENTATION_TAG = 0x0112


def is_plain_jpeg(content: bytes) -> bool:
    """A JPEG of colour or grey, upright as it is stored."""
    if not content.startswith(START):
        return False
    try:
        colours = simplejpeg.decode_jpeg_header(content)[2]
    except ValueError:
        return False
    return colours in PLAIN_COLOURS and _is_upright(content)


def jpeg_size(content: bytes) -> tuple[int, int]:
    """(width, height) of a JPEG as it is stored; ValueError where its header is damaged."""
    height, width = simplejpeg.decode_jpeg_header(content)[:2]
    return width, height


def decode_plain_jpeg(content: bytes, *, shrink: int = 1) -> UInt8[numpy.ndarray, "H W 3"]:
    """RGB pixels, `ceil(height / shrink)` by `ceil(width / shrink)`.

    In full the same as torchvision's, bit for bit. At 1/n each is about the mean of n x n.

    Raises:
        ValueError: the file is damaged, also where libjpeg could go on with a warning.
    """
    if shrink == 1:
        return simplejpeg.decode_jpeg(content)
    height, width = simplejpeg.decode_jpeg_header(content)[:2]
    return simplejpeg.decode_jpeg(content, min_height=-(-height // shrink), min_width=-(-width // shrink), min_factor=shrink)


def _is_upright(content: bytes) -> bool:
    """Without EXIF, or with orientation 1 in it; where the EXIF is not understood, no."""
    try:
        tiff = _find_exif(content)
        if tiff is None:
            return True
        order = {b"II": "<", b"MM": ">"}.get(content[tiff : tiff + 2])
        return order is not None and _orientation(content, tiff=tiff, order=order) == 1
    except struct.error:
        return False


def _find_exif(content: bytes) -> int | None:
    """Where the EXIF's TIFF structure begins: it stands in one of the application segments that open the file."""
    at = len(START)
    while content[at : at + 1] == b"\xff" and content[at + 1] in APPLICATION_MARKERS:
        (length,) = struct.unpack_from(">H", content, at + 2)
        if content[at + 4 : at + 4 + len(EXIF)] == EXIF:
            return at + 4 + len(EXIF)
        at += 2 + length
    return None


def _orientation(content: bytes, *, tiff: int, order: str) -> int:
    """The orientation of the first directory of the TIFF structure that EXIF is kept in; 1 where it has none."""
    (directory,) = struct.unpack_from(order + "I", content, tiff + 4)
    (num_entries,) = struct.unpack_from(order + "H", content, tiff + directory)
    for entry in range(num_entries):
        tag, _, _, value = struct.unpack_from(order + "HHIH", content, tiff + directory + 2 + 12 * entry)
        if tag == ORIENTATION_TAG:
            return value
    return 1
