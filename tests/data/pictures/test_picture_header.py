import io
import struct
import zlib

import numpy
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from mcdist.data.pictures.header import MAX_PIXELS, PictureHeader, read_header, read_photo_header


def encoded(width: int, height: int, *, mode: str = "RGB", kind: str = "JPEG", **options) -> bytes:
    file = io.BytesIO()
    Image.new(mode, (width, height)).save(file, format=kind, **options)
    return file.getvalue()


@given(st.integers(1, 300), st.integers(1, 300), st.booleans(), st.sampled_from(["RGB", "L", "CMYK"]))
def test_a_jpegs_size_is_read_from_its_frame(width, height, progressive, mode):
    header = read_header(encoded(width, height, mode=mode, progressive=progressive, comment=b"x" * 300))
    assert (header.width, header.height, header.bits) == (width, height, 8)


@pytest.mark.parametrize(("mode", "bits", "colour"), [("L", 8, 0), ("RGB", 8, 2), ("P", 1, 3), ("I;16", 16, 0), ("LA", 8, 4), ("RGBA", 8, 6)])
def test_a_pngs_size_and_kind_are_read_from_its_header(mode, bits, colour):
    assert read_header(encoded(7, 5, mode=mode, kind="PNG")) == PictureHeader(7, 5, bits, colour)


def claiming(width: int, height: int) -> bytes:
    """The beginning of a PNG that says it is so large."""
    chunk = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + chunk + struct.pack(">I", zlib.crc32(chunk))


def test_a_few_bytes_may_promise_many_pixels():
    assert read_header(claiming(60_000, 60_000)).num_pixels == 3_600_000_000 > MAX_PIXELS


@pytest.mark.parametrize(("width", "height"), [(0, 0), (0, 5), (7, 0)])
def test_a_photo_without_pixels_is_refused_by_its_header(width, height):
    with pytest.raises(ValueError, match=f"^has no pixels, its header says {width} x {height}; replace it or leave it out"):
        read_photo_header(claiming(width, height))


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "is empty"),
        (b"GIF89a", "is neither JPEG nor PNG, it starts with 47 49 46 38"),
        (encoded(7, 5)[:30], "is damaged: it ends after 30 bytes, within its header"),
        (encoded(7, 5, kind="PNG")[:20], "is damaged: it ends after 20 bytes, within its header"),
        (b"\xff\xd8\x00\x00", "is a JPEG that is damaged at its byte 2"),
        (b"\x89PNG\r\n\x1a\n" + bytes(30), "is a PNG without a header chunk"),
    ],
)
def test_what_is_no_picture_is_told(content, reason):
    with pytest.raises(ValueError, match=f"^{reason}"):
        read_header(content)


@given(st.binary(max_size=60), st.sampled_from([b"", b"\xff\xd8", b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n"]))
def test_any_bytes_give_a_header_or_a_reason(content, start):
    try:
        assert isinstance(read_header(start + content), PictureHeader)
    except ValueError as error:
        assert str(error)


def test_reading_a_header_decodes_nothing(monkeypatch):
    content = encoded(64, 64)
    monkeypatch.setattr(numpy, "frombuffer", None)
    monkeypatch.setattr(Image, "open", None)
    assert read_header(content).width == 64
