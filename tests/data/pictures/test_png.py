import io

import numpy
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from PIL import Image

from mcdist.data.pictures.png import decode_grey_png, encode_grey_png
from mcdist.data.shards.sample import decode_grey
from mcdist.errors import ShardError

MAPS = arrays.arrays(numpy.uint8, st.tuples(st.integers(1, 40), st.integers(1, 40)), elements=st.sampled_from([0, 1, 2, 254, 255]))


def by_pillow(values: numpy.ndarray, **options) -> bytes:
    file = io.BytesIO()
    Image.fromarray(values).save(file, format="PNG", **options)
    return file.getvalue()


@given(MAPS)
def test_a_map_is_read_as_it_was_written_here_and_by_others(values):
    content = encode_grey_png(values)
    read = decode_grey_png(content)
    assert read is not None
    assert numpy.array_equal(read, values)
    with Image.open(io.BytesIO(content)) as image:
        assert image.mode == "L"
        assert numpy.array_equal(numpy.asarray(image), values)


@given(MAPS)
def test_a_map_that_others_wrote_is_read_all_the_same(values):
    assert numpy.array_equal(decode_grey(by_pillow(values), where="here").numpy(), values)


def test_a_flat_map_becomes_smaller_than_with_row_filters():
    values = numpy.zeros((375, 500), dtype=numpy.uint8)
    rows, columns = numpy.ogrid[:375, :500]
    values[(rows - 180) ** 2 + (columns - 200) ** 2 < 120**2] = 1
    assert len(encode_grey_png(values)) < len(by_pillow(values))


def test_other_pictures_are_left_to_others():
    values = numpy.arange(12, dtype=numpy.uint8).reshape(3, 4)
    assert decode_grey_png(by_pillow(numpy.repeat(values[..., None], 3, axis=2))) is None  # colour
    assert decode_grey_png(by_pillow(values.astype(bool))) is None  # 1 bit
    assert decode_grey_png(by_pillow(values, pnginfo=_comment())) is None
    assert decode_grey_png(b"no picture") is None


def _comment():
    from PIL.PngImagePlugin import PngInfo

    info = PngInfo()
    info.add_text("made", "elsewhere")
    return info


@pytest.mark.parametrize("place", range(0, 74, 3))
def test_a_damaged_map_is_not_read(place):
    content = bytearray(encode_grey_png(numpy.arange(12, dtype=numpy.uint8).reshape(3, 4)))
    content[place] ^= 0xFF
    assert decode_grey_png(bytes(content)) is None
    assert decode_grey_png(bytes(content[:place])) is None


def test_a_map_cut_short_is_one_sentence():
    content = encode_grey_png(numpy.zeros((3, 4), dtype=numpy.uint8))
    with pytest.raises(ShardError, match="shard 1: a map cannot be decoded"):
        decode_grey(content[:45], where="shard 1")


def test_a_header_that_promises_more_than_there_is_costs_no_memory():
    content = encode_grey_png(numpy.zeros((3, 4), dtype=numpy.uint8))
    import struct
    import zlib

    header = struct.pack(">4sIIBBBBB", b"IHDR", 2**31 - 1, 2**31 - 1, 8, 0, 0, 0, 0)
    assert decode_grey_png(content[:12] + header + struct.pack(">I", zlib.crc32(header)) + content[33:]) is None
