import io

import numpy
import pytest
import torch
from PIL import Image
from torchvision.io import ImageReadMode, decode_image

from mcdist.data.pictures.jpeg import decode_plain_jpeg, is_plain_jpeg
from mcdist.data.shards.sample import decode_photo
from mcdist.errors import ShardError


def smooth(height: int = 61, width: int = 83) -> numpy.ndarray:
    """A picture like a photograph: no edges sharper than a few pixels."""
    rows, columns = numpy.arange(height)[:, None], numpy.arange(width)[None]
    waves = [numpy.sin(rows / 5 + channel) + numpy.cos(columns / 7 - channel) for channel in range(3)]
    return (numpy.stack(waves, axis=-1) * 60 + 128).astype(numpy.uint8)


def jpeg_of(pixels: numpy.ndarray, *, mode: str = "RGB", orientation: int = 0, **options) -> bytes:
    file = io.BytesIO()
    if orientation:
        options["exif"] = Image.Exif()
        options["exif"][0x0112] = orientation
    Image.fromarray(pixels).convert(mode).save(file, format="JPEG", quality=90, **options)
    return file.getvalue()


def by_torchvision(content: bytes) -> torch.Tensor:
    return decode_image(torch.frombuffer(bytearray(content), dtype=torch.uint8), mode=ImageReadMode.RGB, apply_exif_orientation=True)


@pytest.mark.parametrize("options", [{}, {"mode": "L"}, {"mode": "CMYK"}, {"progressive": True}, {"subsampling": 0}, {"orientation": 1}, {"orientation": 6}])
def test_every_jpeg_decodes_to_what_torchvision_gives(options):
    content = jpeg_of(smooth(), **options)
    assert torch.equal(decode_photo(content, where="here"), by_torchvision(content))


def test_plain_is_what_needs_no_turning_and_no_other_colours():
    assert is_plain_jpeg(jpeg_of(smooth()))
    assert is_plain_jpeg(jpeg_of(smooth(), mode="L"))
    assert is_plain_jpeg(jpeg_of(smooth(), orientation=1))
    assert not is_plain_jpeg(jpeg_of(smooth(), orientation=6))
    assert not is_plain_jpeg(jpeg_of(smooth(), mode="CMYK"))
    assert not is_plain_jpeg(b"\x89PNG\r\n\x1a\n")
    assert not is_plain_jpeg(b"\xff\xd8\xff\xe0 no more")


def test_a_photo_whose_exif_is_not_understood_is_upright_as_stored():
    content = jpeg_of(smooth(), orientation=6)
    tiff = content.index(b"Exif\0\0") + 6
    assert is_plain_jpeg(content[:tiff] + b"??" + content[tiff + 2 :])
    assert is_plain_jpeg(content[: tiff + 4] + b"\xff\xff\xff\x7f" + content[tiff + 8 :])


@pytest.mark.parametrize("shrink", [2, 4, 8])
@pytest.mark.parametrize(("height", "width"), [(64, 80), (61, 83)])
def test_a_shrunken_jpeg_is_the_mean_of_its_pixels(shrink, height, width):
    pixels = smooth(height, width)
    content = jpeg_of(pixels, subsampling=0)
    small = decode_plain_jpeg(content, shrink=shrink)
    assert small.shape == (-(-height // shrink), -(-width // shrink), 3)
    whole = decode_plain_jpeg(content)[: height // shrink * shrink, : width // shrink * shrink].astype(float)
    means = whole.reshape(height // shrink, shrink, width // shrink, shrink, 3).mean(axis=(1, 3))
    assert numpy.abs(small[: height // shrink, : width // shrink] - means).max() < 3


def test_a_damaged_photo_is_one_sentence():
    content = jpeg_of(smooth())
    with pytest.raises(ShardError, match="shard 3, sample x: the photo cannot be decoded"):
        decode_photo(content[:100], where="shard 3, sample x")
    with pytest.raises(ShardError, match="cannot be decoded at 1/2; set data.decode=exact"):
        decode_photo(content[: len(content) // 2], where="shard 3, sample x", shrink=2)
