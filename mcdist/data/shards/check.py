"""Check a sample's bytes before they are decoded: what they are, how many pixels they ask for, and that a PNG is whole."""

import struct
import zlib

from mcdist.data.pictures.header import MAX_PIXELS, PNG_SIGNATURE, PictureHeader, read_header
from mcdist.data.shards.raw_sample import RawSample
from mcdist.errors import ShardError


def check_raw(raw: RawSample) -> None:
    """Headers, sizes, and the checksums that PNG keeps of its own chunks. Decodes nothing. Pixels need no check.

    Raises:
        ShardError: the photo is no JPEG or PNG or too large, or a map is no 8-bit grey PNG: a decoder would turn colours and 16 bits into
            other ids without a word.
    """
    if isinstance(raw.photo, bytes):  # a format may keep pixels, which have no header
        _check(raw.photo, what="photo", where=raw.where)
    for content, what in ((raw.instances, "instance map"), (raw.segments, "ground truth")):
        if isinstance(content, bytes):
            header = _check(content, what=what, where=raw.where)
            if (header.bits, header.colour) != (8, 0):
                kind = "a JPEG" if header.colour < 0 else f"{header.bits} bits, PNG colour type {header.colour}"
                raise ShardError(f"{raw.where}: the {what} should be an 8-bit grey PNG, its header says {kind}; rebuild this shard")


def _check(content: bytes, *, what: str, where: str) -> PictureHeader:
    try:
        header = read_header(content)
        if content.startswith(PNG_SIGNATURE):
            _check_chunks(content)
    except ValueError as error:
        raise ShardError(f"{where}: the {what} {error}; rebuild this shard without it") from error
    if header.num_pixels > MAX_PIXELS:
        raise ShardError(
            f"{where}: the {what} is {header.width} x {header.height}, at most {MAX_PIXELS:,} pixels are decoded; rebuild this shard with --short-side PX"
        )
    return header


def _check_chunks(content: bytes) -> None:
    """Walk over the chunks to the last; each ends in a CRC-32 of its name and data."""
    place, name = len(PNG_SIGNATURE), b""
    while name != b"IEND":
        try:
            size, name = struct.unpack_from(">I4s", content, place)
            (recorded,) = struct.unpack_from(">I", content, place + 8 + size)
        except struct.error as error:
            raise ValueError(f"is a PNG that ends after {len(content)} bytes, before its last chunk") from error
        if zlib.crc32(content[place + 4 : place + 8 + size]) != recorded:
            raise ValueError(f"is a damaged PNG: the chunk at its byte {place} does not fit its checksum")
        place += 12 + size
