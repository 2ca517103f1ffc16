"""Cut-out: one object of a photo as a square, with some of what is around it."""

import numpy
from jaxtyping import UInt8
from PIL import Image

MARGIN_SHARE = 0.15
"""Of an object's longer side, shown around it."""

Pixels = UInt8[numpy.ndarray, "H W 3"]
Box = tuple[float, float, float, float]
Shown = tuple[Pixels, Box]
"""A photo, and the object's box in it: top, left, bottom, right as shares."""


def cut_out(shown: Shown, *, side_px: int) -> Image.Image:
    """The object with a margin, fitted into a square; black where that is larger than the photo."""
    photo, box = shown
    square = Image.fromarray(numpy.ascontiguousarray(photo)).crop(_square(box, width=photo.shape[1], height=photo.shape[0]))
    return square.resize((side_px, side_px), Image.Resampling.LANCZOS)


def _square(box: Box, *, width: int, height: int) -> tuple[int, int, int, int]:
    """Left, upper, right, lower in px: a square around the box, inside the photo where that is large enough."""
    top, left, bottom, right = box[0] * height, box[1] * width, box[2] * height, box[3] * width
    side = min(max(bottom - top, right - left, 8.0) * (1 + 2 * MARGIN_SHARE), float(max(width, height)))
    upper = _inside((top + bottom - side) / 2, side=side, limit=height)
    begin = _inside((left + right - side) / 2, side=side, limit=width)
    return round(begin), round(upper), round(begin + side), round(upper + side)


def _inside(begin: float, *, side: float, limit: int) -> float:
    return (limit - side) / 2 if side > limit else min(max(begin, 0.0), limit - side)
