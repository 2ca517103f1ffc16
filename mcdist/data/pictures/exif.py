"""Orientation: how a viewer turns a photo before it shows it, as EXIF or XMP says; Pillow's answer, found without it where the case is simple."""

import io
import struct
import warnings
from collections.abc import Sequence

import numpy
from jaxtyping import Shaped
from PIL import Image

UPRIGHT = 1
ORIENTATION_TAG = 0x0112
_EXIF = b"Exif\0\0"
_SHORT = 3
_PNG_SOURCES = (b"eXIf", b"Raw profile type exif", b"XML:com.adobe.xmp")
"""What a PNG that says anything of its orientation holds somewhere."""


def jpeg_orientation(segments: Sequence[bytes], *, content: bytes) -> int:
    """The orientation in the application segments 1 of a JPEG, or in all of its `content` where they are unusual."""
    if not segments:
        return UPRIGHT
    exif = [segment for segment in segments if segment.startswith(_EXIF)]
    if len(exif) == 1:
        found = _orientation(exif[0][len(_EXIF) :])
        if found:
            return found if 1 <= found <= 8 else UPRIGHT
    if not exif and not any(b"Orientation" in segment for segment in segments):
        return UPRIGHT
    return _by_pillow(content)


def png_orientation(content: bytes) -> int:
    """The orientation of a PNG."""
    return _by_pillow(content) if any(source in content for source in _PNG_SOURCES) else UPRIGHT


def turn_upright(pixels: Shaped[numpy.ndarray, "H W *C"], *, orientation: int) -> Shaped[numpy.ndarray, "H2 W2 *C"]:
    """The picture as a viewer shows it; a view of `pixels`."""
    if orientation in (5, 6, 7, 8):
        pixels = pixels.swapaxes(0, 1)
    if orientation in (3, 4, 7, 8):
        pixels = pixels[::-1]
    if orientation in (2, 3, 6, 7):
        pixels = pixels[:, ::-1]
    return pixels


def _orientation(tiff: bytes) -> int:
    """The orientation of the first directory of EXIF's TIFF structure; 0 where it has none or is unusual in any way."""
    order = {b"II*\0": "<", b"MM\0*": ">"}.get(tiff[:4])
    if order is None:
        return 0
    try:
        (directory,) = struct.unpack_from(order + "I", tiff, 4)
        (num_entries,) = struct.unpack_from(order + "H", tiff, directory)
        found = []
        for entry in range(directory + 2, directory + 2 + 12 * num_entries, 12):
            tag, kind, count, value = struct.unpack_from(order + "HHIH", tiff, entry)
            if tag == ORIENTATION_TAG:
                found.append((kind, count, value))
    except struct.error:
        return 0
    return found[0][2] if len(found) == 1 and found[0][:2] == (_SHORT, 1) else 0


def _by_pillow(content: bytes) -> int:
    """What Pillow turns the photo by; upright where it does not understand the file, as viewers do."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with Image.open(io.BytesIO(content), formats=("JPEG", "PNG")) as picture:
                value = picture.getexif().get(ORIENTATION_TAG, UPRIGHT)
    except (OSError, SyntaxError, ValueError, TypeError, KeyError, struct.error, Image.DecompressionBombError):
        return UPRIGHT
    return int(value) if value in range(1, 9) else UPRIGHT
