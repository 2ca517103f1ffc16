"""Masks: what their numbers mean, how they become objects, what is too much."""

from pathlib import Path

import numpy
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from mcdist.building.pictures.mask import instances_of, labels_of, read_values
from mcdist.building.source import MAX_KEY_LENGTH, safe_keys
from mcdist.data.readers.webdataset import WebDatasetReader
from mcdist.data.shards.sample import decode_sample
from mcdist.errors import DataError
from tests.building.made_pictures import save_mask


def test_auto_takes_0_and_255_for_foreground_and_other_numbers_for_objects() -> None:
    binary = numpy.array([[0, 255], [255, 255]], dtype=numpy.int32)
    assert instances_of(binary, mask_values="auto", components=False).values.tolist() == [[0, 1], [1, 1]]
    ids = numpy.array([[0, 7], [3, 255]], dtype=numpy.int32)
    assert instances_of(ids, mask_values="auto", components=False).values.tolist() == [[0, 2], [1, -1]]
    assert instances_of(ids, mask_values="binary", components=False).values.tolist() == [[0, 0], [0, 1]]
    assert instances_of(binary, mask_values="instances", components=False).num_objects == 0


def test_components_split_a_binary_mask_and_leave_specks_void() -> None:
    values = numpy.zeros((20, 20), dtype=numpy.int32)
    values[2:8, 2:8], values[12:18, 12:18], values[0, 19] = 255, 255, 255
    found = instances_of(values, mask_values="auto", components=True)
    assert found.num_objects == 2
    assert (found.values[3, 3], found.values[13, 13], found.values[0, 19], found.values[10, 10]) == (1, 2, -1, 0)


def test_beyond_254_objects_the_largest_stay_and_the_rest_is_void(tmp_path: Path) -> None:
    values = numpy.arange(400, dtype=numpy.uint16).repeat(2).reshape(20, 40)
    values[0, 0:2] = 399
    save_mask(tmp_path / "m.png", values=values)
    found = instances_of(read_values(tmp_path / "m.png"), mask_values="auto", components=False)
    assert found.num_objects == 254 and found.num_dropped == 399 - 254
    assert found.values[0, 0] == 254, "the largest is kept, and numbers keep their order"
    assert found.values.max() == 254 and (found.values == -1).sum() == 2 * (399 - 254)


def test_a_palette_mask_gives_its_ids_and_a_1_bit_mask_its_foreground(tmp_path: Path) -> None:
    image = Image.fromarray(numpy.array([[0, 5], [255, 5]], dtype=numpy.uint8)).convert("P")
    image = Image.frombytes("P", (2, 2), bytes([0, 5, 255, 5]))
    image.putpalette(bytes(range(256)) * 3)
    image.save(tmp_path / "p.png")
    assert read_values(tmp_path / "p.png").tolist() == [[0, 5], [255, 5]]
    Image.fromarray(numpy.array([[True, False]])).save(tmp_path / "b.png")
    assert read_values(tmp_path / "b.png").tolist() == [[255, 0]]


def test_labels_beyond_255_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"0 to 300.*at most 255 classes"):
        labels_of(numpy.array([[0, 300]], dtype=numpy.int32), place=tmp_path / "l.png")


@given(st.lists(st.text(min_size=1, max_size=120), unique=True, max_size=20))
def test_keys_are_unique_short_and_without_dots(names: list[str]) -> None:
    keys = safe_keys(names)
    assert len(set(keys)) == len(names)
    assert all(key.isascii() and "." not in key and "/" not in key and 0 < len(key) <= MAX_KEY_LENGTH for key in keys)


def test_a_jpeg_is_read_as_a_binary_mask_where_that_is_asked_for(run, photos, tmp_path: Path) -> None:
    for mask in (tmp_path / "masks").iterdir():
        values = numpy.zeros((32, 48), dtype=numpy.uint8)
        values[8:24, 8:32] = 255
        Image.fromarray(values).save(mask, format="JPEG", quality=80)
    given = ("build", "folder", photos, "--masks", tmp_path / "masks", "--out", tmp_path / "out", "--workers", 1)
    refused = run(*given)
    assert refused.exit_code == 3 and "is a JPEG" in refused.output and "--mask-values binary" in refused.output
    assert run(*given, "--mask-values", "binary").exit_code == 0
    sample = decode_sample(WebDatasetReader(tmp_path / "out").read(0))
    assert sample.instances.unique().tolist() == [0, 1] and int(sample.instances.sum()) == 16 * 24
