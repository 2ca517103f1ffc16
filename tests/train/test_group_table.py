"""The table of groups: each object of each photo has the group that its folder says, and nothing of other photos, other objects or in pieces is read."""

import shutil
from functools import partial
from pathlib import Path

import numpy
import pytest
import torch

from mcdist.errors import ConfigError, DataError
from mcdist.train.group_table import GroupTable, make_group_table, read_group_table
from tests.makers.group_folder import make_groups, make_store

SAMPLES = "5" * 64
read = partial(read_group_table, num_groups=(3, 2), samples=SAMPLES, num_samples=12, max_objects=2)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    make_groups(tmp_path / "groups", store=make_store(tmp_path / "store", samples=SAMPLES, num_photos=12))
    return tmp_path / "groups"


def test_every_object_has_the_group_and_the_confidence_of_its_row(folder: Path) -> None:
    table = read(folder)
    assert (table.group_of.shape, table.group_of.dtype, table.num_groups) == ((12, 2, 2), torch.int16, (3, 2))
    for place, num in enumerate((3, 2)):
        for name, values in (("group", table.group_of), ("confidence", table.confidence)):
            rows = numpy.load(folder / f"{name}_{num:06d}.npy")
            assert values[..., place].flatten().tolist() == pytest.approx(rows.tolist()), "rows are photo by photo, object by object"
    assert table.of(torch.tensor([7, 0])).tolist() == [table.group_of[7].tolist(), table.group_of[0].tolist()]


def test_objects_that_are_not_listed_and_unsure_ones_have_no_group(folder: Path) -> None:
    sure = read(folder, num_groups=(3,))
    median = float(sure.confidence.median())
    some = read(folder, num_groups=(3,), confidence_min=median)
    assert torch.equal(some.group_of, torch.where(sure.confidence >= median, sure.group_of, -1))
    rows = numpy.array([1, 1]), numpy.array([2, 1])
    table = make_group_table(*rows, group_of=numpy.array([[4], [-1]]), confidence=numpy.ones((2, 1)), num_groups=(5,), num_samples=2, max_objects=3)
    assert table.group_of[..., 0].tolist() == [[-1, -1, -1], [-1, 4, -1]]


def test_the_digest_names_the_content_and_not_the_place(folder: Path, tmp_path: Path) -> None:
    digest = read(folder).digest
    (tmp_path / "elsewhere").mkdir()
    for name in ("groups", "store"):
        shutil.move(tmp_path / name, tmp_path / "elsewhere" / f"my {name}")
    moved: GroupTable = read(tmp_path / "elsewhere" / "my groups")
    assert moved.digest == digest
    assert read(tmp_path / "elsewhere" / "my groups", num_groups=(2, 3)).digest != digest


def test_other_shards_are_refused(folder: Path) -> None:
    with pytest.raises(ConfigError, match=r"are of the 12 photos of .* \(samples 555555555555\), data.train names 12 others \(samples 666666666666\)"):
        read(folder, samples="6" * 64)
    with pytest.raises(ConfigError, match="data.train names 13 others"):
        read(folder, num_samples=13)


def test_another_number_of_objects_is_refused(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"are of at most 2 objects a photo, views.max_objects is 4, .*; set views.max_objects=2"):
        read(folder, max_objects=4)
    store = make_store(tmp_path / "unsaid" / "store", samples=SAMPLES, num_photos=12, settings={"size_px": 64}, numbers=[1, 3])
    make_groups(tmp_path / "unsaid" / "groups", store=store)
    assert read(tmp_path / "unsaid" / "groups", max_objects=4).group_of.shape == (12, 4, 2)
    with pytest.raises(ConfigError, match="has a photo with object 3, views.max_objects is 2"):
        read(tmp_path / "unsaid" / "groups", max_objects=2)


def test_a_number_of_groups_that_was_not_made_is_refused(folder: Path) -> None:
    with pytest.raises(ConfigError, match=r"groups.num_groups=\[3, 7\] names numbers of groups that .*groups does not have, it has 2, 3; .* --groups 3,7"):
        read(folder, num_groups=(3, 7))


def test_groups_without_their_store_are_refused(folder: Path, tmp_path: Path) -> None:
    shutil.rmtree(tmp_path / "store")
    make_store(tmp_path / "another", samples="7" * 64, num_photos=12)
    with pytest.raises(
        DataError, match=r"expected the feature store that the groups .* were made of \(digest [0-9a-f]{12}\) in a folder beside them, found none"
    ):
        read(folder)


def test_damaged_groups_and_stores_are_refused(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="expected groups at"):
        read(tmp_path / "store")
    array = folder / "group_000003.npy"
    array.write_bytes(array.read_bytes()[:-1] + b"x")
    with pytest.raises(DataError, match="group_000003.npy is damaged"):
        read(folder)


def test_a_store_that_lacks_a_file_is_refused(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "store" / "chunk_000000" / "objects.number.npy").unlink()
    with pytest.raises(DataError, match=r"objects.number.npy is damaged"):
        read(folder)


@pytest.mark.parametrize(("numbers", "message"), [([1, 1], "lists an object twice"), ([0, 1], "numbers from 0")])
def test_objects_that_no_map_can_have_are_refused(tmp_path: Path, numbers: list[int], message: str) -> None:
    make_groups(tmp_path / "groups", store=make_store(tmp_path / "store", samples=SAMPLES, num_photos=12, numbers=numbers))
    with pytest.raises(DataError, match=message):
        read(tmp_path / "groups")


def test_groups_to_which_no_object_belongs_are_refused(folder: Path) -> None:
    with pytest.raises(
        ConfigError, match=r"none of the 24 objects .* belongs to one of its 3 groups with a confidence of at least 1: .*lower groups.confidence_min"
    ):
        read(folder, confidence_min=1.0)
