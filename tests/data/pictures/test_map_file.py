"""Every layout of PNG and JPEG has its stated meaning as a map, or is refused; for builders, proposals and the truth to judge them by alike."""

import io
import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from mcdist.building.pictures.mask import instances_of, read_values, refuse_soft
from mcdist.data.pictures.map_file import read_map, read_map_file
from mcdist.errors import DataError
from mcdist.proposals.files import make
from mcdist.proposals.proposal import CannotProposeError
from mcdist.proposals.quality.evaluate_folder import read_instances
from mcdist.proposals.quality.truth import Truth

IDS = numpy.zeros((40, 48), dtype=numpy.uint8)
IDS[4:14, 4:20], IDS[20:34, 20:40] = 1, 2


def png(image: Image.Image, **options) -> bytes:
    file = io.BytesIO()
    image.save(file, format="PNG", **options)
    return file.getvalue()


def jpeg(image: Image.Image) -> bytes:
    file = io.BytesIO()
    image.save(file, format="JPEG", quality=95)
    return file.getvalue()


def packed(values: numpy.ndarray, *, bits: int) -> bytes:
    """A grey PNG of 1, 2 or 4 bits with these very numbers: Pillow writes none."""
    height, width = values.shape
    spread = (values[..., None] >> numpy.arange(bits - 1, -1, -1)) & 1
    rows = numpy.packbits(spread.reshape(height, -1), axis=1)
    content = b"".join(b"\0" + row.tobytes() for row in rows)

    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    header = struct.pack(">IIBBBBB", width, height, bits, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(content)) + chunk(b"IEND", b"")


def with_palette(indices: numpy.ndarray, *colours: tuple[int, int, int], **options) -> bytes:
    image = Image.frombytes("P", indices.shape[::-1], indices.astype(numpy.uint8).tobytes())
    image.putpalette([value for colour in colours for value in colour])
    return png(image, **options)


def coloured() -> Image.Image:
    return Image.fromarray(numpy.array([[0, 0, 0], [255, 0, 0], [0, 255, 0]], dtype=numpy.uint8)[IDS])


def see_through(image: Image.Image) -> Image.Image:
    image.putalpha(Image.fromarray((IDS > 0).astype(numpy.uint8) * 255))
    return image


@settings(max_examples=60, deadline=None)
@given(st.sampled_from([2, 4]), st.integers(1, 9), st.integers(1, 9), st.randoms(use_true_random=False))
def test_grey_of_few_bits_keeps_its_numbers(bits: int, height: int, width: int, random) -> None:
    values = numpy.array([[random.randrange(2**bits) for _ in range(width)] for _ in range(height)])
    assert read_map(packed(values, bits=bits)).tolist() == values.tolist()


VOC = ((0, 0, 0), (128, 0, 0), (0, 128, 0))
SAME = {
    "grey": png(Image.fromarray(IDS)),
    "grey of 16 bits": png(Image.fromarray(IDS.astype(numpy.uint16))),
    "grey of 4 bits": packed(IDS, bits=4),
    "palette": with_palette(IDS, *VOC),
    "palette of 2 bits": with_palette(IDS, *VOC, bits=2),
    "palette whose background is transparent": with_palette(IDS, *VOC, transparency=0),
    "RGB that is grey": png(Image.fromarray(IDS).convert("RGB")),
    "opaque RGBA that is grey": png(Image.fromarray(IDS).convert("RGBA")),
    "opaque grey with opacity": png(Image.fromarray(IDS).convert("LA")),
}


@pytest.mark.parametrize("layout", SAME)
def test_equal_ids_in_any_layout_are_equal_for_everyone(layout: str, tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(SAME[layout])
    assert numpy.array_equal(read_map(SAME[layout]), IDS)
    assert numpy.array_equal(instances_of(read_values(path), mask_values="auto", components=False).values, IDS)
    assert numpy.array_equal(read_instances(path), IDS)
    truth = Truth(tmp_path).read("a.jpg")
    assert truth is not None and numpy.array_equal(truth, IDS)
    photo = numpy.zeros((*IDS.shape, 3), dtype=numpy.uint8)
    assert numpy.array_equal(make(masks=str(tmp_path), values="instances")([photo], names=["a.jpg"])[0].instances, IDS)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (png(coloured()), "colour picture"),
        (png(coloured().convert("RGBA")), "colour picture"),
        (png(see_through(Image.fromarray(IDS).convert("RGB"))), "transparent in places"),
        (png(see_through(Image.new("L", IDS.shape[::-1]))), "transparent in places"),
        (with_palette(2 - IDS, (0, 128, 0), (128, 0, 0), (0, 0, 0)), "black is index 2, not 0"),
        (jpeg(Image.fromarray(IDS)), "is a JPEG, which changes object ids"),
        (b"GIF89a...", "neither JPEG nor PNG"),
        (png(Image.fromarray(IDS))[:60], "cannot be read"),
    ],
    ids=["colour", "colour with opacity", "transparent", "opacity alone", "sorted palette", "JPEG", "GIF", "cut"],
)
def test_what_has_no_meaning_is_refused_by_everyone(content: bytes, reason: str, tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(content)
    refused: list[tuple[type[Exception], Callable[[], object]]] = [
        (DataError, lambda: read_values(path)),
        (DataError, lambda: read_instances(path)),
        (DataError, lambda: Truth(tmp_path).read("a.jpg")),
        (CannotProposeError, lambda: make(masks=str(tmp_path), values="instances")([numpy.zeros((*IDS.shape, 3), dtype=numpy.uint8)], names=["a.jpg"])),
    ]
    for kind, call in refused:
        with pytest.raises(kind, match=rf"a\.png.*{reason}.*save it"):
            call()


def test_a_black_and_white_palette_in_another_order_is_read_by_its_colours() -> None:
    white_first = with_palette((IDS == 0).astype(numpy.uint8), (255, 255, 255), (0, 0, 0))
    assert numpy.array_equal(read_map(white_first), (IDS > 0) * 255)


def test_one_bit_and_sixteen_bits_may_be_binary() -> None:
    assert numpy.array_equal(read_map(packed((IDS > 0).astype(int), bits=1)), (IDS > 0) * 255)
    for full in (255, 65535):
        values = read_map(png(Image.fromarray(((IDS > 0) * full).astype(numpy.uint16))))
        assert numpy.array_equal(instances_of(values, mask_values="auto", components=False).values, IDS > 0)


def test_a_saliency_map_may_be_a_jpeg() -> None:
    soft = Image.fromarray((IDS > 0).astype(numpy.uint8) * 200)
    assert numpy.abs(read_map(jpeg(soft), soft=True) - numpy.asarray(soft).astype(int)).max() < 30


def blurred(levels: int, *, width: int) -> numpy.ndarray:
    rows, columns = numpy.ogrid[:64, :64]
    depth = (20 - numpy.hypot(rows - 32, columns - 32)).clip(0, width) / width
    return (depth * levels).round() * 255 // levels


@pytest.mark.parametrize(("levels", "width"), [(4, 2), (16, 8), (255, 8), (255, 20)])
def test_a_soft_mask_is_refused_with_both_ways_out(levels: int, width: int) -> None:
    with pytest.raises(DataError, match=r"the mask m.png holds \d+ grey levels of a soft or noisy outline.*--mask-values binary.*proposals make files"):
        refuse_soft(blurred(levels, width=width).astype(numpy.int32), place="m.png")


def test_a_mask_with_the_noise_of_a_jpeg_is_refused() -> None:
    noisy = read_map(jpeg(Image.fromarray((IDS > 0).astype(numpy.uint8).repeat(3, 0).repeat(3, 1) * 255)), soft=True)
    with pytest.raises(DataError, match="soft or noisy outline"):
        refuse_soft(noisy, place="m.png")


def test_ids_that_form_areas_are_taken_however_many() -> None:
    many = numpy.arange(1, 145).reshape(12, 12).repeat(5, 0).repeat(5, 1)
    for values in (IDS, many, numpy.where(many % 3 == 0, 255, many), numpy.zeros((4, 4))):
        refuse_soft(values.astype(numpy.int32), place="m.png")


def test_a_file_that_is_no_map_is_named_by_what_it_was_to_be(tmp_path: Path) -> None:
    (tmp_path / "good.png").write_bytes(packed(numpy.array([[0, 1], [3, 2]], dtype=numpy.uint8), bits=8))
    assert read_map_file(tmp_path / "good.png", what="the mask").tolist() == [[0, 1], [3, 2]]
    (tmp_path / "bad.png").write_bytes(b"no picture")
    with pytest.raises(DataError, match=r"^the annotation .*bad\.png cannot be read: it "):
        read_map_file(tmp_path / "bad.png", what="the annotation")
    with pytest.raises(DataError, match=r"^the mask .*none\.png cannot be read \(No such file or directory\); check the file and its permissions$"):
        read_map_file(tmp_path / "none.png", what="the mask")
