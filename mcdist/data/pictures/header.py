"""PictureHeader: size and kind of a JPEG or PNG, from its first bytes alone, so that a picture is judged before memory is spent on its pixels."""

import struct
from dataclasses import dataclass

PNG_START = b"\x89PNG\r\n\x1a\n"
_JPEG_START = b"\xff\xd8"
_FRAME_MARKERS = frozenset({*range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC})
"""JPEG markers that carry the frame's size; the three others in the range are tables."""
_BARE_MARKERS = frozenset({0x01, *range(0xD0, 0xD8)})
"""JPEG markers without a length."""


@dataclass(frozen=True, slots=True)
class PictureHeader:
    """Stored width and height, before any EXIF rotation. `colour` is PNG's colour type (0 grey, 2 RGB, 3 palette, 4 and 6 with alpha); -1 for JPEG."""

    width: int
    height: int
    bits: int
    colour: int

    @property
    def num_pixels(self) -> int:
        """Width times height."""
        return self.width * self.height


def read_header(content: bytes) -> PictureHeader:
    """The header of a JPEG or PNG.

    Raises:
        ValueError: it is neither, or ends before its size; the text completes "the photo ...".
    """
    if not content:
        raise ValueError("has no bytes")
    try:
        if content.startswith(PNG_START):
            return _png_header(content)
        if content.startswith(_JPEG_START):
            return _jpeg_header(content)
    except (struct.error, IndexError) as error:
        raise ValueError(f"ends after {len(content)} bytes, within its header") from error
    raise ValueError(f"is neither JPEG nor PNG, it starts with {content[:4].hex(' ')}")


def _png_header(content: bytes) -> PictureHeader:
    if content[12:16] != b"IHDR":
        raise ValueError("is a PNG without a header chunk")
    width, height, bits, colour = struct.unpack_from(">IIBB", content, 16)
    return PictureHeader(width, height, bits, colour)


def _jpeg_header(content: bytes) -> PictureHeader:
    """Walk from marker to marker to the frame."""
    place = len(_JPEG_START)
    while True:
        if content[place] != 0xFF:
            raise ValueError(f"is a JPEG with damage at its byte {place}")
        marker = content[place + 1]
        if marker == 0xFF:  # a filling byte
            place += 1
        elif marker in _BARE_MARKERS:
            place += 2
        elif marker in _FRAME_MARKERS:
            bits, height, width = struct.unpack_from(">BHH", content, place + 4)
            return PictureHeader(width, height, bits, -1)
        else:
            place += 2 + struct.unpack_from(">H", content, place + 2)[0]
