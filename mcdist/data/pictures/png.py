"""PNG of a map: 8 bits, grey, 255 being void. No torch here, so that small programs may write maps.

It is written without row filters, so that one call of zlib reads it: a map is flat, PNG's row filters, made for photographs, do not make it
smaller, and undoing them is what a PNG decoder spends its time on.
"""

import struct
import zlib

import numpy
from jaxtyping import UInt8
from zlib_ng import zlib_ng

from mcdist.components import VOID
from mcdist.data.pictures.header import MAX_PIXELS, PNG_SIGNATURE

STORED_VOID = 255
MAX_STORED_OBJECTS = 254

_HEADER = b"IHDR"
_PIXELS = b"IDAT"
_END = b"IEND"
_HEADER_FORMAT = ">IIBBBBB"
_PALETTE = b"PLTE"
_GREY_8_BIT, _PALETTE_8_BIT = (8, 0, 0, 0, 0), (8, 3, 0, 0, 0)
"""Depth, colour type, compression, filter method, interlacing."""
_LEVEL = 6
_PIXELS_AT = len(PNG_SIGNATURE) + 12 + struct.calcsize(_HEADER_FORMAT)


def encode_map(values: numpy.ndarray) -> bytes:
    """8-bit grey PNG of a map `[H, W]` with values 0..254 and 255 or -1 for void; the same bytes for the same map."""
    if values.max(initial=0) > STORED_VOID or values.min(initial=0) < VOID:
        raise ValueError(f"a stored map holds -1..{STORED_VOID}, got {values.min()}..{values.max()}")
    return encode_grey_png(numpy.where(values == VOID, STORED_VOID, values).astype(numpy.uint8))


def encode_grey_png(values: UInt8[numpy.ndarray, "H W"]) -> bytes:
    """An 8-bit grey PNG; the same bytes for the same values and the same zlib."""
    return _encode(values, form=_GREY_8_BIT, before_pixels=b"")


def encode_palette_png(values: UInt8[numpy.ndarray, "H W"], *, colours: UInt8[numpy.ndarray, "256 3"]) -> bytes:
    """An 8-bit palette PNG: `values` are shown in `colours`, and a reader of maps finds the values; the same bytes for the same input and zlib."""
    return _encode(values, form=_PALETTE_8_BIT, before_pixels=_chunk(_PALETTE, colours.tobytes()))


def decode_grey_png(content: bytes) -> UInt8[numpy.ndarray, "H W"] | None:
    """The values of a file as `encode_grey_png` writes it; None for any other file, sound or damaged."""
    if content[: len(PNG_SIGNATURE)] != PNG_SIGNATURE:
        return None
    header, packed = _read_chunk(content, _HEADER, at=len(PNG_SIGNATURE)), _read_chunk(content, _PIXELS, at=_PIXELS_AT)
    if header is None or packed is None or _read_chunk(content, _END, at=len(content) - 12) is None:
        return None
    width, height, *form = struct.unpack(_HEADER_FORMAT, header)
    num_bytes = (1 + width) * height
    if tuple(form) != _GREY_8_BIT or _PIXELS_AT + len(packed) + 24 != len(content) or width * height > MAX_PIXELS or len(packed) > num_bytes + 1024:
        return None
    try:
        unpacked = zlib_ng.decompress(packed, bufsize=num_bytes)
    except zlib_ng.error:  # type: ignore[misc]  # zlib-ng has no types
        return None
    if len(unpacked) != num_bytes:
        return None
    rows = numpy.frombuffer(unpacked, dtype=numpy.uint8).reshape(height, 1 + width)
    return None if rows[:, 0].any() else rows[:, 1:].copy()


def _encode(values: UInt8[numpy.ndarray, "H W"], *, form: tuple[int, ...], before_pixels: bytes) -> bytes:
    height, width = values.shape
    rows = numpy.zeros((height, 1 + width), dtype=numpy.uint8)  # each row opens with its filter: 0, none
    rows[:, 1:] = values
    header = _chunk(_HEADER, struct.pack(_HEADER_FORMAT, width, height, *form))
    return PNG_SIGNATURE + header + before_pixels + _chunk(_PIXELS, zlib.compress(rows.tobytes(), _LEVEL)) + _chunk(_END, b"")


def _chunk(name: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))


def _read_chunk(content: bytes, name: bytes, *, at: int) -> bytes | None:
    """The content of the chunk of that name at that place, its checksum right; else None."""
    if content[at + 4 : at + 8] != name:
        return None
    (length,) = struct.unpack_from(">I", content, at)
    end = at + 8 + length
    if len(content) < end + 4 or struct.unpack_from(">I", content, end)[0] != zlib.crc32(content[at + 4 : end]):
        return None
    return content[at + 8 : end]
