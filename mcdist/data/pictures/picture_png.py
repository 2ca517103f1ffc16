"""PNG of a picture of any mode, by Pillow. Maps have an encoder of their own, `mcdist.data.pictures.png`."""

import io

from PIL import Image

QUICK_LEVEL = 4
"""For pictures that a command draws: on panels of VOC photos 2 to 4 % larger than with Pillow's `optimize`, in a sixth to an eighth of the time."""

_PILLOWS_LEVEL = 6


def encode_picture_png(picture: Image.Image, *, level: int = _PILLOWS_LEVEL) -> bytes:
    """The file of `picture`, lossless; the same bytes for the same pixels, Pillow and zlib.

    Args:
        picture: any mode that PNG has: L, P, RGB, RGBA, ...
        level: of zlib, 0..9. The pixels are the same at every level.
    """
    content = io.BytesIO()
    picture.save(content, format="PNG", compress_level=level)
    return content.getvalue()
