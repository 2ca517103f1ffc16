"""Grey PNG: the file of a map. Written without row filters, so that one call of zlib reads it; any other is left to others.

A map is flat: PNG's row filters, made for photographs, do not make it smaller, and undoing them is what a PNG decoder spends its time on.
"""

import struct
import zlib
from contextlib import suppress
from types import ModuleType

import numpy
from jaxtyping import UInt8

inflater: ModuleType = zlib
with suppress(ImportError):  # without it the same bytes take fifteen times the time
    from zlib_ng import zlib_ng

    inflater = zlib_ng

SIGNATURE = b"\x89PNG\r\n\x1a\n"
HEADER = b"IHDR"
PIXELS = b"IDAT"
END = b"IEND"
HEADER_FORMAT = ">IIBBBBB"
GREY_8_BIT = (8, 0, 0, 0, 0)
"""Depth, colour type, compression, filter method, interlacing."""
LEVEL = 6
MAX_PIXELS = 2**28

_PIXELS_AT = len(SIGNATURE) + 12 + struct.calcsize(HEADER_FORMAT)


def encode_grey_png(values: UInt8[numpy.ndarray, "H W"]) -> bytes:
    """An 8-bit grey PNG; the same bytes for the same values and the same zlib."""
    height, width = values.shape
    rows = numpy.zeros((height, 1 + width), dtype=numpy.uint8)  # each row opens with its filter: 0, none
    rows[:, 1:] = values
    header = struct.pack(HEADER_FORMAT, width, height, *GREY_8_BIT)
    return SIGNATURE + _chunk(HEADER, header) + _chunk(PIXELS, zlib.compress(rows.tobytes(), LEVEL)) + _chunk(END, b"")


def decode_grey_png(content: bytes) -> UInt8[numpy.ndarray, "H W"] | None:
    """The values of a file as `encode_grey_png` writes it; None for any other file, sound or damaged."""
    if content[: len(SIGNATURE)] != SIGNATURE:
        return None
    header, packed = _read_chunk(content, HEADER, at=len(SIGNATURE)), _read_chunk(content, PIXELS, at=_PIXELS_AT)
    if header is None or packed is None or _read_chunk(content, END, at=len(content) - 12) is None:
        return None
    width, height, *form = struct.unpack(HEADER_FORMAT, header)
    num_bytes = (1 + width) * height
    if tuple(form) != GREY_8_BIT or _PIXELS_AT + len(packed) + 24 != len(content) or not len(packed) <= num_bytes + 1024 <= MAX_PIXELS:
        return None
    try:
        unpacked = inflater.decompress(packed, bufsize=num_bytes)
    except inflater.error:
        return None
    if len(unpacked) != num_bytes:
        return None
    rows = numpy.frombuffer(unpacked, dtype=numpy.uint8).reshape(height, 1 + width)
    return None if rows[:, 0].any() else rows[:, 1:].copy()


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
