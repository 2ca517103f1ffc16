from pathlib import Path

import numpy
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mcdist.building.writers.pack import Packing
from mcdist.data.readers.ffcv import FfcvReader
from mcdist.data.shards.beton import ALLOCATION, FIELD, HEADER, Beton, read_beton
from mcdist.data.shards.sample import decode_sample
from mcdist.errors import ShardError
from tests.makers.tiny_betons import jpeg_members, tiny_betons


@pytest.fixture(scope="module")
def sound(tmp_path_factory) -> bytes:
    """A file of five samples, photos as JPEGs."""
    return (tiny_betons(tmp_path_factory.mktemp("sound"), 5, members_of=jpeg_members) / "shard-000000.beton").read_bytes()


def read_changed(content: bytes, *, tmp_path: Path, **header: int) -> Beton:
    """Read the file after its header got other numbers."""
    changed = numpy.frombuffer(content, dtype=HEADER, count=1).copy()
    for name, value in header.items():
        changed[name] = value
    path = tmp_path / "changed.beton"
    path.write_bytes(changed.tobytes() + content[HEADER.itemsize :])
    return read(path)


def read(path: Path) -> Beton:
    with path.open("rb") as file:
        return read_beton(file.fileno(), where=str(path))


def test_a_file_that_nobody_touched_is_read(sound, tmp_path):
    beton = read_changed(sound, tmp_path=tmp_path)
    assert beton.num_samples == 5
    assert beton.heights.tolist() == [40, 41, 42, 43, 44]
    assert sorted(beton.extents) == ["json", "key", "mask.png", "photo"]


@pytest.mark.parametrize("length", [0, 10, HEADER.itemsize + 5, HEADER.itemsize + 4 * FIELD.itemsize + 7, -1, -ALLOCATION.itemsize])
def test_a_file_that_ends_early_is_named(sound, tmp_path, length):
    path = tmp_path / "short.beton"
    path.write_bytes(sound[:length])
    with pytest.raises(ShardError, match=r"short\.beton.*copy the file again or build it anew"):
        read(path)


@pytest.mark.parametrize(
    ("header", "reason"),
    [
        ({"version": 3}, "expected version 2 of FFCV's format, found 3"),
        ({"num_fields": 0}, "expected 1 to 64 fields, the header claims 0"),
        ({"num_fields": 65535}, "expected 1 to 64 fields, the header claims 65535"),
        ({"num_samples": 2**63}, r"its metadata table needs \d+ bytes from byte \d+ on, the file has \d+"),
        ({"num_samples": 6}, r"its allocation table leads out of the data \(entry 0, bytes"),
        ({"alloc_table_ptr": 2**64 - 1}, r"its allocation table cannot start at byte \d+ of \d+"),
        ({"alloc_table_ptr": 24}, r"its allocation table cannot start at byte 24 of \d+"),
    ],
)
def test_a_header_that_claims_what_is_not_there_is_refused(sound, tmp_path, header, reason):
    with pytest.raises(ShardError, match=reason):
        read_changed(sound, tmp_path=tmp_path, **header)


@pytest.mark.parametrize(
    ("column", "value", "reason"),
    [
        ("ptr", 2**64 - 8, "its allocation table leads out of the data"),
        ("ptr", 0, "its allocation table leads out of the data"),
        ("size", 2**63, "its allocation table leads out of the data"),
        ("size", 0, "its allocation table leads out of the data"),
        ("sample_id", 5, "names more than its 5 samples"),
        ("sample_id", 4, "sample 0: photo is not in the allocation table"),
    ],
)
def test_an_allocation_that_leads_elsewhere_is_refused(sound, tmp_path, column, value, reason):
    table_at = int(numpy.frombuffer(sound, dtype=HEADER, count=1)[0]["alloc_table_ptr"])
    table = numpy.frombuffer(sound[table_at:], dtype=ALLOCATION).copy()
    table[0][column] = value
    path = tmp_path / "led.beton"
    path.write_bytes(sound[:table_at] + table.tobytes())
    with pytest.raises(ShardError, match=reason):
        read(path)


def test_a_field_type_from_elsewhere_is_refused(sound, tmp_path):
    path = tmp_path / "custom.beton"
    path.write_bytes(sound[: HEADER.itemsize] + b"\xff" + sound[HEADER.itemsize + 1 :])
    with pytest.raises(ShardError, match=r"expected integer, RGB image, bytes and JSON fields, found field type \[255\]"):
        read(path)


@pytest.fixture(scope="module")
def flipped_folder(tmp_path_factory) -> Path:
    """The folder of five samples whose file each example replaces."""
    return tiny_betons(tmp_path_factory.mktemp("flipped"), 5, members_of=jpeg_members)


@settings(max_examples=60)
@given(data=st.data())
def test_one_flipped_bit_in_a_table_is_read_within_the_file_or_refused_in_one_sentence(sound, flipped_folder, data):
    header = numpy.frombuffer(sound, dtype=HEADER, count=1)[0]
    tables = HEADER.itemsize + int(header["num_fields"]) * FIELD.itemsize + 5 * 61
    positions = [*range(HEADER.itemsize), *range(HEADER.itemsize, tables, 7), *range(int(header["alloc_table_ptr"]), len(sound))]
    position, bit = data.draw(st.sampled_from(positions)), data.draw(st.integers(0, 7))
    flipped = bytearray(sound)
    flipped[position] ^= 1 << bit
    (flipped_folder / "new").write_bytes(flipped)
    (flipped_folder / "new").replace(flipped_folder / "shard-000000.beton")
    try:
        reader = FfcvReader(flipped_folder)
        for index in range(5):
            decode_sample(reader.read(index))
    except ShardError as error:
        assert "shard-000000.beton" in str(error) and "\n" not in str(error)


def test_a_file_without_a_manifest_entry_for_its_samples_is_refused(tmp_path):
    folder = tiny_betons(tmp_path / "five", 5)
    other = tiny_betons(tmp_path / "four", 4)
    (other / "shard-000000.beton").replace(folder / "shard-000000.beton")
    with pytest.raises(ShardError, match="expected 5 samples with key and mask.png, found 4 with"):
        FfcvReader(folder).read(0)


def test_pixels_that_do_not_fill_the_photo_are_refused(tmp_path):
    path = tiny_betons(tmp_path, 5, packing=Packing("raw")) / "shard-000000.beton"
    content = bytearray(path.read_bytes())
    num_fields = int(numpy.frombuffer(content, dtype=HEADER, count=1)[0]["num_fields"])
    first_width = HEADER.itemsize + num_fields * FIELD.itemsize + 1
    content[first_width] += 1
    path.write_bytes(content)
    with pytest.raises(ShardError, match="sample 0: its photo's pixels do not fill its size"):
        read(path)
