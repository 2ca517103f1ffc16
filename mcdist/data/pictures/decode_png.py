"""Decode a PNG with Pillow. torchvision's PNG decoder ends the whole process on damaged data (0.29: a segmentation fault), its JPEG decoder does not."""

import io

import numpy
from jaxtyping import UInt8
from PIL import Image, ImageOps


def decode_png(content: bytes, *, mode: str) -> UInt8[numpy.ndarray, "H W *C"]:
    """Pixels in Pillow's `mode`, "RGB" or "L", upright.

    Raises:
        ValueError: it cannot be decoded.
    """
    try:
        with Image.open(io.BytesIO(content), formats=("PNG",)) as picture:
            return numpy.array(ImageOps.exif_transpose(picture).convert(mode))
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise ValueError(str(error)) from error
