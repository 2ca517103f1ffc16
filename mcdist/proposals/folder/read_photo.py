"""Reading a photo for a proposal: upright RGB as training sees it, shrunk where it is huge, refused with a reason where nothing can be done."""

import io
from dataclasses import dataclass
from pathlib import Path

import numpy
from jaxtyping import Bool, UInt8
from PIL import Image, ImageOps

from mcdist.data.pictures.decode_png import decode_png
from mcdist.data.pictures.header import PNG_START, PictureHeader, read_header
from mcdist.data.pictures.jpeg import decode_plain_jpeg, is_plain_jpeg
from mcdist.proposals.proposal import CannotProposeError, Pixels

UNREADABLE = "unreadable"

GREYSCALE = "greyscale"
TRANSPARENT = "transparent: what lies under less than half opacity is background"
SHRUNK = "larger than the method takes: proposed on a shrunk copy"

MAX_PIXELS = 100_000_000
"""As for shards: a tiny file can claim any size."""
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
        content = path.read_bytes()
        header = read_header(content)
    except (OSError, ValueError) as error:
        raise _unreadable(path, reason=getattr(error, "strerror", None) or str(error)) from error
    if header.bits > 8:
        raise _unreadable(path, reason=f"has {header.bits} bits a channel, shards hold 8")
    if header.num_pixels > MAX_PIXELS:
        raise _unreadable(path, reason=f"has {header.width} x {header.height} pixels, more than {MAX_PIXELS}")
    try:
        pixels, (width, height) = _decode(content, header=header, max_side_px=max_side_px)
        transparent = _transparent(content, header=header, width=pixels.shape[1], height=pixels.shape[0])
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise _unreadable(path, reason=f"cannot be decoded ({str(error).strip().split(chr(10))[0]})") from error
    notes = []
    if (pixels[..., 0] == pixels[..., 1]).all() and (pixels[..., 0] == pixels[..., 2]).all():
        notes.append(GREYSCALE)
    if transparent is not None:
        notes.append(TRANSPARENT)
    if pixels.shape[:2] != (height, width):
        notes.append(SHRUNK)
    return ReadPhoto(pixels=pixels, width=width, height=height, transparent=transparent, notes=tuple(notes))


def _decode(content: bytes, *, header: PictureHeader, max_side_px: int | None) -> tuple[UInt8[numpy.ndarray, "h w 3"], tuple[int, int]]:
    """Pixels, and the upright photo's (width, height)."""
    if content.startswith(PNG_START):
        pixels = decode_png(content, mode="RGB")
        size = pixels.shape[1], pixels.shape[0]
    elif is_plain_jpeg(content):
        size = header.width, header.height
        shrink = next(step for step in JPEG_SHRINKS if step == 1 or (max_side_px is not None and max(size) >= step * max_side_px))
        pixels = decode_plain_jpeg(content, shrink=shrink)
    else:
        pixels = _decode_other_jpeg(content)
        size = pixels.shape[1], pixels.shape[0]
    return _shrunk(pixels, max_side_px=max_side_px), size


def _decode_other_jpeg(content: bytes) -> Pixels:
    """A JPEG that EXIF turns, or of other colours than YCbCr and grey."""
    with Image.open(io.BytesIO(content), formats=("JPEG", "MPO")) as picture:
        return numpy.array(ImageOps.exif_transpose(picture).convert("RGB"))


def _shrunk(pixels: Pixels, *, max_side_px: int | None) -> UInt8[numpy.ndarray, "h w 3"]:
    side = max(pixels.shape[:2])
    if max_side_px is None or side <= max_side_px:
        return pixels
    height, width = (max(1, round(length * max_side_px / side)) for length in pixels.shape[:2])
    return numpy.asarray(Image.fromarray(numpy.ascontiguousarray(pixels)).resize((width, height), Image.Resampling.BOX))


def _transparent(content: bytes, *, header: PictureHeader, width: int, height: int) -> Bool[numpy.ndarray, "h w"] | None:
    if header.colour not in (4, 6) and b"tRNS" not in content[:4096]:
        return None
    alpha = Image.fromarray(decode_png(content, mode="RGBA")[..., 3])
    opaque = numpy.asarray(alpha.resize((width, height), Image.Resampling.BOX)) >= 128
    return None if opaque.all() else ~opaque


def _unreadable(path: Path, *, reason: str) -> CannotProposeError:
    return CannotProposeError(f"the photo {path} {reason}; mend it or leave it out", outcome=UNREADABLE)
