"""The pixels of a photo file as a viewer shows it: upright, RGB. Training, builders and proposals all decode here."""

import io
import warnings

import numpy
from jaxtyping import UInt8
from PIL import Image

from mcdist.data.pictures.exif import turn_upright
from mcdist.data.pictures.header import PNG_SIGNATURE, read_header
from mcdist.data.pictures.jpeg import decode_plain_jpeg, is_plain_jpeg


def decode_upright(content: bytes, *, shrink: int = 1, mode: str = "RGB") -> UInt8[numpy.ndarray, "H W C"]:
    """Pixels of a JPEG or PNG, turned upright; grey and CMYK become RGB. `shrink` as `decode_plain_jpeg`, for plain JPEGs only.

    `mode`: "RGB", or "RGBA" for a PNG with its opacity.

    Raises:
        ValueError: it cannot be decoded, or is no plain JPEG and `shrink` is not 1.
    """
    if is_plain_jpeg(content):
        try:
            return decode_plain_jpeg(content, shrink=shrink)
        except ValueError:
            if shrink > 1:
                raise
    if shrink > 1:
        raise ValueError("only a plain JPEG can be decoded at a smaller size")
    pixels = decode_with_pillow(content, mode=mode)
    return numpy.ascontiguousarray(turn_upright(pixels, orientation=read_header(content).orientation))


def decode_with_pillow(content: bytes, *, mode: str) -> UInt8[numpy.ndarray, "H W *C"]:
    """Pixels of a JPEG or PNG in Pillow's `mode`, as they are stored. Its own limit of pixels is silent: callers read the header first.

    Raises:
        ValueError: it cannot be decoded. torchvision would end the whole process on a damaged PNG (0.29: a segmentation fault).
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with Image.open(io.BytesIO(content), formats=("PNG",) if content.startswith(PNG_SIGNATURE) else ("JPEG",)) as picture:
                return numpy.array(picture.convert(mode))
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise ValueError(str(error).strip().split("\n")[0] or type(error).__name__) from error
