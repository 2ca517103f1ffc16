"""Reading a photo for a proposal: upright RGB as training sees it, shrunk where it is huge, refused with a reason where nothing can be done."""

from dataclasses import dataclass
from pathlib import Path

import numpy
from jaxtyping import Bool, UInt8
from PIL import Image

from mcdist.data.pictures.header import PictureHeader, read_photo_header
from mcdist.data.pictures.jpeg import is_plain_jpeg
from mcdist.data.pictures.photo import decode_upright
from mcdist.data.pictures.regular_file import read_regular
from mcdist.proposals.proposal import CannotProposeError, Pixels

UNREADABLE = "unreadable"

GREYSCALE = "greyscale"
TRANSPARENT = "transparent: what is under less than half opacity is background"
SHRUNK = "larger than the method takes: proposed on a shrunk copy"

JPEG_SHRINKS = (8, 4, 2, 1)


@dataclass(frozen=True, slots=True)
class ReadPhoto:
    """Pixels as a method gets them, the upright photo's own size in px, where it is transparent (at the pixels' size, None: nowhere), what was noticed."""

    pixels: Pixels
    width: int
    height: int
    transparent: Bool[numpy.ndarray, "h w"] | None
    notes: tuple[str, ...]

    @property
    def is_one_colour(self) -> bool:
        """No channel varies by more than JPEG's rounding does."""
        flat = self.pixels.reshape(-1, 3)
        return bool((flat.max(axis=0).astype(int) - flat.min(axis=0) <= 4).all())


def read_photo(path: Path, *, max_side_px: int | None) -> ReadPhoto:
    """The photo at `path`.

    A JPEG is decoded at 1/2, 1/4 or 1/8 where that is still at least `max_side_px` long; then it is shrunk by area averaging.

    Raises:
        CannotProposeError: missing, empty, damaged, neither JPEG nor PNG, 16 bits a channel, or larger than MAX_PIXELS.
    """
    try:
        content = read_regular(path)
        header = read_photo_header(content)
    except OSError as error:
        raise _unreadable(path, reason=f"cannot be read ({error.strerror}); check the file and its permissions") from error
    except ValueError as error:
        raise _unreadable(path, reason=str(error)) from error
    width, height = header.upright_size
    try:
        pixels = _decode(content, long_side=max(width, height), max_side_px=max_side_px)
        transparent = _transparent(content, header=header, width=pixels.shape[1], height=pixels.shape[0])
    except ValueError as error:
        raise _unreadable(path, reason=f"is damaged ({error}); replace it or leave it out") from error
    notes = []
    if (pixels[..., 0] == pixels[..., 1]).all() and (pixels[..., 0] == pixels[..., 2]).all():
        notes.append(GREYSCALE)
    if transparent is not None:
        notes.append(TRANSPARENT)
    if pixels.shape[:2] != (height, width):
        notes.append(SHRUNK)
    return ReadPhoto(pixels=pixels, width=width, height=height, transparent=transparent, notes=tuple(notes))


def _decode(content: bytes, *, long_side: int, max_side_px: int | None) -> UInt8[numpy.ndarray, "h w 3"]:
    shrink = 1
    if max_side_px is not None and is_plain_jpeg(content):
        shrink = next(step for step in JPEG_SHRINKS if step == 1 or long_side >= step * max_side_px)
    return _shrunk(decode_upright(content, shrink=shrink), max_side_px=max_side_px)


def _shrunk(pixels: Pixels, *, max_side_px: int | None) -> UInt8[numpy.ndarray, "h w 3"]:
    side = max(pixels.shape[:2])
    if max_side_px is None or side <= max_side_px:
        return pixels
    height, width = (max(1, round(length * max_side_px / side)) for length in pixels.shape[:2])
    return numpy.asarray(Image.fromarray(numpy.ascontiguousarray(pixels)).resize((width, height), Image.Resampling.BOX))


def _transparent(content: bytes, *, header: PictureHeader, width: int, height: int) -> Bool[numpy.ndarray, "h w"] | None:
    if header.colour < 0 or header.colour not in (4, 6) and b"tRNS" not in content[:4096]:
        return None
    alpha = Image.fromarray(decode_upright(content, mode="RGBA")[..., 3])
    opaque = numpy.asarray(alpha.resize((width, height), Image.Resampling.BOX)) >= 128
    return None if opaque.all() else ~opaque


def _unreadable(path: Path, *, reason: str) -> CannotProposeError:
    return CannotProposeError(f"the photo {path} {reason}", outcome=UNREADABLE)
