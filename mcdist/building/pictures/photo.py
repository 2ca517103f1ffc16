"""Photo files: their own bytes, checked by decoding them once; resized only where that is asked for.

A shard keeps what the camera wrote, so that nothing is lost; what the training reader could not read right is found here, not in the run.
"""

from dataclasses import dataclass

import numpy
from jaxtyping import UInt8
from PIL import Image

from mcdist.building.pictures.place import Place, read_place
from mcdist.data.pictures.header import PNG_SIGNATURE, read_photo_header
from mcdist.data.pictures.jpeg import encode_jpeg
from mcdist.data.pictures.photo import decode_upright
from mcdist.errors import DataError

RESIZE_FILTER = "box"
"""A pixel of a shrunk photo is the mean of the pixels that it covers (Pillow's BOX): an area filter, which neither rings nor aliases."""


@dataclass(frozen=True, slots=True)
class PhotoFile:
    """A photo ready to be stored: member name (`jpg` or `png`), bytes, its upright size in px, and the size as stored, before EXIF turns it."""

    member: str
    content: bytes
    width: int
    height: int
    stored_width: int
    stored_height: int


def read_photo(place: Place, *, short_side_px: int = 0, jpeg_quality: int = 92) -> PhotoFile:
    """Read and decode a photo; keep its bytes, or resize and re-encode it where its short side is above `short_side_px` (0: never).

    Grey and CMYK stay as they are: the training reader turns them into RGB.

    `width` and `height` are those of the photo as it was, upright, not of the resized one: masks are drawn on the former.

    Raises:
        DataError: missing, unreadable, damaged, neither JPEG nor PNG, 16 bits a channel, or larger than `MAX_PIXELS`.
    """
    content = read_place(place, what="photo")
    try:
        header = read_photo_header(content)
    except ValueError as error:
        raise DataError(f"the photo {place} {error}") from error
    member = "png" if content.startswith(PNG_SIGNATURE) else "jpg"
    width, height = header.upright_size
    try:
        pixels = decode_upright(content)
    except ValueError as error:
        raise DataError(f"the photo {place} is damaged ({error}); replace it or leave it out") from error
    if pixels.shape[:2] != (height, width):
        raise DataError(f"the photo {place} decodes to {pixels.shape[1]} x {pixels.shape[0]}, its header says {width} x {height}; save it again")
    if 0 < short_side_px < min(width, height):
        member, content = "jpg", encode_jpeg(_shrunk(pixels, short_side_px=short_side_px), quality=jpeg_quality)
    return PhotoFile(member=member, content=content, width=width, height=height, stored_width=header.width, stored_height=header.height)


def shrunk_size(width: int, *, height: int, short_side_px: int) -> tuple[int, int]:
    """(width, height) with the short side at `short_side_px`; never larger than before, 0 leaves it as it is."""
    short = min(width, height)
    if not 0 < short_side_px < short:
        return width, height
    return max(1, round(width * short_side_px / short)), max(1, round(height * short_side_px / short))


def first_line(error: BaseException | None) -> str:
    """The first line of an error's text, for use inside a sentence of ours."""
    return (str(error).strip() or repr(error)).split("\n")[0].rstrip(".")


def _shrunk(pixels: UInt8[numpy.ndarray, "H W 3"], *, short_side_px: int) -> UInt8[numpy.ndarray, "h w 3"]:
    size = shrunk_size(pixels.shape[1], height=pixels.shape[0], short_side_px=short_side_px)
    return numpy.array(Image.fromarray(numpy.ascontiguousarray(pixels)).resize(size, Image.Resampling.BOX))
