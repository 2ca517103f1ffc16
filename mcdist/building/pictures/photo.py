"""Photo files: their own bytes, checked by decoding them once; resized only where that is asked for.

A shard keeps what the camera wrote, so that nothing is lost; what the training reader could not read right is found here, not in the run.
"""

import io
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy
from jaxtyping import UInt8
from PIL import Image

from mcdist.building.pictures.place import Place, read_place
from mcdist.data.shards.sample import decode_photo
from mcdist.errors import DataError, ShardError

MAX_PIXELS = 100_000_000
"""A photo or mask larger than this is refused before it is decoded: a tiny file can claim any size."""

EXIF_ORIENTATION = 0x0112

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
    member = _member_of(content, place=place)
    stored_width, stored_height, turned = _header_of(content, place=place)
    width, height = (stored_height, stored_width) if turned else (stored_width, stored_height)
    try:
        pixels = decode_photo(content, where=str(place)).permute(1, 2, 0).numpy()
    except ShardError as error:
        raise DataError(f"the photo {place} is damaged ({first_line(error.__cause__)}); replace it or leave it out") from error
    if pixels.shape[:2] != (height, width):
        raise DataError(f"the photo {place} decodes to {pixels.shape[1]} x {pixels.shape[0]}, its header says {width} x {height}; save it again")
    if 0 < short_side_px < min(width, height):
        member, content = "jpg", encode_jpeg(_shrunk(pixels, short_side_px=short_side_px), quality=jpeg_quality)
    return PhotoFile(member=member, content=content, width=width, height=height, stored_width=stored_width, stored_height=stored_height)


def shrunk_size(width: int, *, height: int, short_side_px: int) -> tuple[int, int]:
    """(width, height) with the short side at `short_side_px`; never larger than before, 0 leaves it as it is."""
    short = min(width, height)
    if not 0 < short_side_px < short:
        return width, height
    return max(1, round(width * short_side_px / short)), max(1, round(height * short_side_px / short))


@contextmanager
def open_picture(content: bytes) -> Iterator[Image.Image]:
    """Pillow's picture, of which only the header is read. Its warning of large ones is silent: `MAX_PIXELS` is the limit here, for the caller to check."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)
        image = Image.open(io.BytesIO(content))
    with image:
        yield image


def encode_jpeg(pixels: UInt8[numpy.ndarray, "H W 3"], *, quality: int) -> bytes:
    """RGB pixels as JPEG, the same bytes for the same pixels."""
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, format="JPEG", quality=quality)
    return file.getvalue()


def first_line(error: BaseException | None) -> str:
    """The first line of an error's text, for use inside a sentence of ours; without the decoder's own source file and line."""
    text = (str(error).strip() or repr(error)).split("\n")[0].rstrip(".")
    return text.split(", ", maxsplit=2)[-1] if ".cpp:" in text else text


def _member_of(content: bytes, *, place: Place) -> str:
    if content[:3] == b"\xff\xd8\xff":
        return "jpg"
    if content[:8] == b"\x89PNG\r\n\x1a\n":
        if content[24:25] == b"\x10":
            raise DataError(f"the photo {place} has 16 bits a channel, shards hold 8; convert it to an 8-bit PNG or to JPEG")
        return "png"
    raise DataError(f"the photo {place} is neither JPEG nor PNG (it starts with {content[:4].hex() or 'nothing: it is empty'}); convert it to one of them")


def _header_of(content: bytes, *, place: Place) -> tuple[int, int, bool]:
    """(stored width, stored height, whether EXIF turns it on its side), without decoding pixels."""
    try:
        with open_picture(content) as image:
            width, height = image.width, image.height
            turned = image.getexif().get(EXIF_ORIENTATION, 1) in (5, 6, 7, 8)
    except Image.DecompressionBombError as error:
        raise DataError(f"the photo {place} claims more than {MAX_PIXELS} pixels; make it smaller") from error
    except (OSError, ValueError, SyntaxError) as error:
        raise DataError(f"the photo {place} is damaged ({first_line(error)}); replace it or leave it out") from error
    if width * height > MAX_PIXELS:
        raise DataError(f"the photo {place} has {width} x {height} pixels, more than {MAX_PIXELS}; make it smaller")
    return width, height, turned


def _shrunk(pixels: UInt8[numpy.ndarray, "H W 3"], *, short_side_px: int) -> UInt8[numpy.ndarray, "h w 3"]:
    size = shrunk_size(pixels.shape[1], height=pixels.shape[0], short_side_px=short_side_px)
    return numpy.array(Image.fromarray(numpy.ascontiguousarray(pixels)).resize(size, Image.Resampling.BOX))
