"""Photos are turned as Pillow turns them, wherever a file says how."""

import io
import struct
import warnings
from pathlib import Path

import numpy
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageOps
from PIL.PngImagePlugin import PngInfo

from mcdist.building.pictures.photo import read_photo
from mcdist.data.pictures.exif import turn_upright
from mcdist.data.pictures.header import read_header
from mcdist.data.pictures.photo import decode_upright
from mcdist.proposals.folder.read_photo import read_photo as read_for_proposal

PIXELS = numpy.random.default_rng(0).integers(0, 255, (3, 4, 3), dtype=numpy.uint8).repeat(8, axis=0).repeat(8, axis=1)
XMP = b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:Description tiff:Orientation="%d"/></x:xmpmeta>'


def jpeg(*segments: bytes, **options) -> bytes:
    """A JPEG whose first segments are these."""
    file = io.BytesIO()
    Image.fromarray(PIXELS).save(file, format="JPEG", quality=95, **options)
    content = file.getvalue()
    return content[:2] + b"".join(segments) + content[2:]


def segment(marker: int, content: bytes) -> bytes:
    return struct.pack(">BBH", 0xFF, marker, 2 + len(content)) + content


def exif(orientation: int, *, order: str = "<", kind: str = "HI", code: int = 3, count: int = 1) -> bytes:
    """An EXIF segment with the orientation as one field, of a type and count of one's choice."""
    head = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(order + "IH", 8, 2)
    make = struct.pack(order + "HHI4s", 0x010F, 2, 4, b"abc\0")
    value = struct.pack(order + kind[0], orientation).ljust(4, b"\0")
    return segment(0xE1, b"Exif\0\0" + head + make + struct.pack(order + "HHI", 0x0112, code, count) + value + bytes(4))


def xmp(orientation: int) -> bytes:
    return segment(0xE1, b"http://ns.adobe.com/xap/1.0/\0" + XMP % orientation)


def png(**options) -> bytes:
    file = io.BytesIO()
    Image.fromarray(PIXELS).save(file, format="PNG", **options)
    return file.getvalue()


def png_with_xmp(orientation: int) -> bytes:
    info = PngInfo()
    info.add_itxt("XML:com.adobe.xmp", (XMP % orientation).decode())
    return png(pnginfo=info)


def png_with_exif(orientation: int) -> bytes:
    found = Image.Exif()
    found[0x0112] = orientation
    return png(exif=found)


def as_pillow_shows(content: bytes) -> numpy.ndarray:
    with warnings.catch_warnings(action="ignore"), Image.open(io.BytesIO(content)) as image:
        return numpy.array(ImageOps.exif_transpose(image).convert("RGB"))


WAYS = {
    "first": lambda number: jpeg(exif(number)),
    "big-endian": lambda number: jpeg(exif(number, order=">")),
    "behind a comment": lambda number: jpeg(segment(0xFE, b"a comment"), exif(number)),
    "behind XMP": lambda number: jpeg(xmp(1), exif(number)),
    "behind a profile": lambda number: jpeg(segment(0xE2, b"ICC_PROFILE\0\x01\x01"), segment(0xED, b"Photoshop"), exif(number)),
    "as a long": lambda number: jpeg(exif(number, kind="I", code=4)),
    "as a long, big-endian": lambda number: jpeg(exif(number, order=">", kind="I", code=4)),
    "in XMP alone": lambda number: jpeg(xmp(number)),
    "grey": lambda number: jpeg(exif(number)),
    "PNG": png_with_exif,
    "PNG, in XMP": png_with_xmp,
}


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("way", WAYS)
def test_builders_proposals_and_training_see_a_photo_as_its_viewer_does(way: str, orientation: int, tmp_path: Path) -> None:
    content = WAYS[way](orientation)
    shown = as_pillow_shows(content)
    assert shown.shape == ((24, 32, 3) if orientation < 5 else (32, 24, 3)), "the case itself"
    assert read_header(content).orientation == orientation
    assert numpy.array_equal(decode_upright(content), shown)
    (tmp_path / "photo").write_bytes(content)
    built = read_photo(tmp_path / "photo")
    assert (built.height, built.width) == shown.shape[:2]
    assert numpy.array_equal(read_for_proposal(tmp_path / "photo", max_side_px=None).pixels, shown)


@settings(max_examples=80, deadline=None)
@given(st.lists(st.sampled_from(range(7)), max_size=4), st.integers(0, 10), st.sampled_from("<>"), st.sampled_from([1, 3, 4, 5, 9]), st.integers(0, 2))
def test_whatever_segments_a_jpeg_has_its_orientation_is_pillows(order: list[int], number: int, endian: str, code: int, count: int) -> None:
    made = [
        segment(0xFE, b"Exif\0\0 no exif"),
        exif(number, order=endian),
        exif(number, order=endian, code=code, count=count),
        xmp(number % 10),
        segment(0xE1, b"Exif\0\0II*\0\x08\0\0\0"),
        segment(0xE2, b"ICC_PROFILE\0\x01\x01"),
        segment(0xE1, b"http://ns.adobe.com/xap/1.0/\0<x/>"),
    ]
    content = jpeg(*(made[place] for place in order))
    try:
        shown = as_pillow_shows(content)
    except (SyntaxError, struct.error, TypeError):  # Pillow cannot write the EXIF anew; nobody says how such a photo is shown
        assert 1 <= read_header(content).orientation <= 8
        return
    assert numpy.array_equal(decode_upright(content), shown)


@pytest.mark.parametrize("orientation", range(10))
def test_turning_is_pillows(orientation: int) -> None:
    image = Image.fromarray(PIXELS)
    image.getexif()[0x0112] = orientation
    assert numpy.array_equal(turn_upright(PIXELS, orientation=orientation), numpy.asarray(ImageOps.exif_transpose(image)))
