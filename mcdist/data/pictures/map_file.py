"""The numbers of a map in a file that somebody else made: masks for builders, masks or saliency maps for proposals, ground truth to judge them by.

| layout | numbers |
|---|---|
| PNG, grey of 1 bit | 0 and 255 |
| PNG, grey of 2, 4, 8 or 16 bits | as they are stored; a decoder would spread 2 and 4 bits over 0..255 |
| PNG, palette | indices; grey levels where the colours in use are black and white and black is not index 0 |
| PNG, RGB of 8 bits, or with opacity | the grey level, where the three channels agree and nothing is transparent; else refused |
| JPEG, grey or with channels that agree | the grey level, for maps that are soft (saliency); else refused, for it changes ids |
| others | refused |

A map is turned as its viewer shows it. No torch here.
"""

import io
import warnings
from pathlib import Path

import numpy
from jaxtyping import Int32
from PIL import Image

from mcdist.data.pictures.exif import turn_upright
from mcdist.data.pictures.header import MAX_PIXELS, PNG_SIGNATURE, PictureHeader, read_header
from mcdist.errors import DataError

_GREY, _RGB, _PALETTE = 0, 2, 3
_ANOTHER_WAY = "save it again as a grey or palette PNG"


def read_map(content: bytes, *, soft: bool = False) -> Int32[numpy.ndarray, "H W"]:
    """The numbers of a map, 0..65535. `soft`: grey levels are meant, not ids, so that a JPEG may hold them.

    Raises:
        ValueError: it cannot be decoded, or its layout has no meaning as a map; the text completes "the mask ..." and ends in what to do.
    """
    try:
        header = read_header(content)
    except ValueError as error:
        raise ValueError(f"cannot be read: it {error}; {_ANOTHER_WAY}") from error
    if header.num_pixels > MAX_PIXELS:
        raise ValueError(f"has {header.width} x {header.height} pixels, more than {MAX_PIXELS}; save it at its photo's size")
    if not soft and header.colour < 0:
        raise ValueError(f"is a JPEG, which changes object ids; {_ANOTHER_WAY} (builders read its two levels with --mask-values binary)")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with Image.open(io.BytesIO(content), formats=("PNG",) if content.startswith(PNG_SIGNATURE) else ("JPEG",)) as image:
                values = _numbers(image, header=header)
    except (OSError, SyntaxError, Image.DecompressionBombError) as error:
        raise ValueError(f"cannot be read ({str(error).strip().split(chr(10))[0]}); save it again as a PNG") from error
    return numpy.ascontiguousarray(turn_upright(values, orientation=header.orientation)).astype(numpy.int32)


def read_map_file(path: Path, *, what: str) -> Int32[numpy.ndarray, "H W"]:
    """The numbers of the map at `path`, as `read_map` reads them; `what` calls it by its name, as in "the mask".

    Raises:
        DataError: the file cannot be read, or its layout has no meaning as a map.
    """
    try:
        return read_map(path.read_bytes())
    except OSError as error:
        raise DataError(f"{what} {path} cannot be read ({error.strerror}); check the file and its permissions") from error
    except ValueError as error:
        raise DataError(f"{what} {path} {error}") from error


def _numbers(image: Image.Image, *, header: PictureHeader) -> numpy.ndarray:
    if header.colour == _PALETTE:
        return _indices(image)
    if header.colour == _GREY:
        values = numpy.asarray(image)
        if header.bits == 1:
            return values.astype(numpy.int32) * 255
        return values // (255 // (2**header.bits - 1)) if header.bits < 8 else values
    if header.bits > 8:
        raise ValueError(f"has {header.bits} bits a channel and colour type {header.colour}; {_ANOTHER_WAY}")
    pixels = numpy.asarray(image.convert("RGBA"))
    if (pixels[..., 3] != 255).any():
        raise ValueError(f"is transparent in places, so its object ids cannot be known; remove its opacity, and {_ANOTHER_WAY}")
    if (pixels[..., :1] != pixels[..., 1:3]).any():
        raise ValueError(f"is a colour picture, expected object ids; {_ANOTHER_WAY}")
    return pixels[..., 0]


def _indices(image: Image.Image) -> numpy.ndarray:
    """A palette's indices. Programs that shrink files may sort a palette: then black, the background, is not index 0."""
    indices = numpy.asarray(image)
    colours = numpy.zeros((256, 3), dtype=numpy.uint8)
    palette = numpy.array(image.getpalette("RGB") or [], dtype=numpy.uint8).reshape(-1, 3)
    colours[: len(palette)] = palette
    used = numpy.unique(indices)
    is_black = (colours[used] == 0).all(axis=1)
    if not is_black.any() or 0 not in used or is_black[0]:
        return indices
    if ((colours[used] == 0).all(axis=1) | (colours[used] == 255).all(axis=1)).all():
        return colours[:, 0][indices]
    raise ValueError(f"has a palette whose black is index {used[is_black][0]}, not 0, so that its ids cannot be known; {_ANOTHER_WAY}")
