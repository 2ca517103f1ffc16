"""Groups on disk: what was written comes back, a folder appears whole, and nothing damaged, foreign or hostile is read."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy
import pytest

from mcdist.errors import ConfigError, DataError, MachineError
from mcdist.groups import file as file_module
from mcdist.groups.file import confidence_name, group_name, read_groups, write_groups
from mcdist.groups.find import find_groups
from mcdist.groups.record import Groups, Source
from mcdist.groups.settings import GroupSettings
from tests.groups.worlds import blobs, rows_of

SOURCE = Source(store="a" * 64, table="proposals", columns=("vectors/unit-mean/initial backbone",), excluded_by="photo")


def make(*, num_objects: int = 40, num_groups: tuple[int, ...] = (2, 3)) -> Groups:
    settings = GroupSettings(num_groups=num_groups, num_seeds=2, num_subsamples=0)
    return Groups(source=SOURCE, grouping=find_groups(rows_of(blobs(num_objects, num_blobs=3)[0]), settings=settings))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_groups(make(), folder=tmp_path / "groups")
    return tmp_path / "groups"


def test_groups_come_back_as_they_were_written(folder: Path) -> None:
    written, read = make(), read_groups(folder)
    assert (read.source, read.grouping.settings, read.grouping.facts, read.grouping.choice) == (
        written.source,
        written.grouping.settings,
        written.grouping.facts,
        written.grouping.choice,
    )
    assert [repr(row) for row in read.grouping.stability] == [repr(row) for row in written.grouping.stability]  # nan equals nothing
    for one, other in zip(read.grouping.sets, written.grouping.sets, strict=True):
        assert numpy.array_equal(one.group, other.group)
        assert numpy.array_equal(one.confidence, other.confidence)
    assert sorted(path.name for path in folder.iterdir()) == [
        "confidence_000002.npy",
        "confidence_000003.npy",
        "group_000002.npy",
        "group_000003.npy",
        "groups.json",
    ]
    assert not [path for path in folder.parent.iterdir() if path != folder]


def test_the_manifest_says_how_groups_are_spread(folder: Path) -> None:
    content = json.loads((folder / "groups.json").read_text())
    assert content["sets"][1]["sizes"] == [14, 13, 13]
    assert content["sets"][1]["entropy"] > 0.99
    assert content["sets"][1]["largest_share"] == 14 / 40
    assert content["sets"][1]["signs_of_collapse"] == []
    assert content["stability"][0]["subsample_agreement"] is None


def test_the_same_groups_are_the_same_bytes(folder: Path, tmp_path: Path) -> None:
    write_groups(make(), folder=tmp_path / "again")
    assert all((tmp_path / "again" / path.name).read_bytes() == path.read_bytes() for path in folder.iterdir())


def test_earlier_groups_are_replaced_and_other_files_are_not(folder: Path, tmp_path: Path) -> None:
    write_groups(make(num_groups=(4,)), folder=folder)
    assert sorted(path.name for path in folder.iterdir()) == ["confidence_000004.npy", "group_000004.npy", "groups.json"]
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "thesis.tex").write_text("")
    with pytest.raises(ConfigError, match="thesis holds other files, expected an empty folder or groups; choose another one with --out"):
        write_groups(make(), folder=tmp_path / "thesis")
    assert [path.name for path in (tmp_path / "thesis").iterdir()] == ["thesis.tex"]


def test_a_disk_that_refuses_leaves_the_earlier_groups(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = {path.name: path.read_bytes() for path in folder.iterdir()}

    def full(path: Path, content: bytes) -> None:
        if path.name == "groups.json":
            raise OSError(28, "No space left on device")
        path.write_bytes(content)

    monkeypatch.setattr(file_module, "_write", full)
    with pytest.raises(MachineError, match="cannot write the groups .*: No space left on device; free some space or choose another folder with --out"):
        write_groups(make(num_groups=(5,)), folder=folder)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before
    assert [path.name for path in folder.parent.iterdir()] == [folder.name]


def test_a_rename_that_fails_puts_the_earlier_groups_back(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    rename = Path.rename

    def refuses(self: Path, target: Path) -> Path:
        if ".new." in self.name:
            raise OSError(5, "Input/output error")
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", refuses)
    with pytest.raises(MachineError, match="Input/output error"):
        write_groups(make(num_groups=(5,)), folder=folder)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


def test_a_file_in_the_way_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(MachineError, match=r"cannot write the groups .*file/groups"):
        write_groups(make(), folder=tmp_path / "file" / "groups")


def test_no_groups_are_one_sentence_with_the_command(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"expected groups at .* \(its groups.json\), found none; make them with: mcdist group STORE --out"):
        read_groups(tmp_path)


@pytest.mark.parametrize("name", [group_name(3), confidence_name(2)])
@pytest.mark.parametrize(
    "change",
    [
        lambda path: path.unlink(),
        lambda path: path.write_bytes(path.read_bytes()[:-4]),
        lambda path: path.write_bytes(path.read_bytes()[:-4] + b"\0\0\0\7"),
        lambda path: path.write_bytes(b"no array"),
        lambda path: numpy.save(path, numpy.array([{"a": 1}] * 40), allow_pickle=True),
    ],
)
def test_a_damaged_array_is_one_sentence_with_its_place(folder: Path, name: str, change: Callable[[Path], Any]) -> None:
    change(folder / name)
    with pytest.raises(DataError, match=f"{name} is damaged .*; run mcdist group again"):
        read_groups(folder)


HOSTILE: list[Callable[[dict[str, Any]], object]] = [
    lambda content: content.pop("facts"),
    lambda content: content["facts"].update(num_objects=39),
    lambda content: content["facts"].update(num_objects="many"),
    lambda content: content["facts"].update(other=1),
    lambda content: content["sets"][0].update(num_groups=-2),
    lambda content: content["sets"][0].update(num_groups="../../etc/passwd"),
    lambda content: content["sets"].pop(),
    lambda content: content["settings"].update(tau=-1),
    lambda content: content["settings"].update(tau="0.3"),
    lambda content: content["settings"].update(search="fast"),
    lambda content: content["choice"].update(num_groups=9),
    lambda content: content["choice"].update(num_neighbours=9),
    lambda content: content.update(source=3),
    lambda content: content.update(stability=[{}]),
]


@pytest.mark.parametrize("change", HOSTILE)
def test_a_manifest_from_elsewhere_is_checked(folder: Path, change: Callable[[dict[str, Any]], object]) -> None:
    content = json.loads((folder / "groups.json").read_text())
    change(content)
    (folder / "groups.json").write_text(json.dumps(content))
    with pytest.raises(DataError, match="is damaged .*; run mcdist group again"):
        read_groups(folder)


@pytest.mark.parametrize("text", ["", "3", "[]", "{}", "{", "[" * 100_000])
def test_text_that_is_no_manifest_is_one_sentence(folder: Path, text: str) -> None:
    (folder / "groups.json").write_text(text)
    with pytest.raises(DataError, match="groups.json is damaged"):
        read_groups(folder)


def test_numbers_outside_the_groups_are_refused_even_with_their_checksum(tmp_path: Path) -> None:
    groups = make(num_groups=(3,))
    groups.grouping.sets[0].group[5] = 3
    write_groups(groups, folder=tmp_path / "groups")
    with pytest.raises(DataError, match="the arrays of 3 groups hold numbers outside their range"):
        read_groups(tmp_path / "groups")


def test_another_schema_version_is_refused(folder: Path) -> None:
    content = json.loads((folder / "groups.json").read_text())
    (folder / "groups.json").write_text(json.dumps({**content, "schema_version": 1}))
    with pytest.raises(DataError, match="has schema version 1, this mcdist reads 2; run mcdist group again"):
        read_groups(folder)


def test_groups_of_another_store_are_refused(folder: Path) -> None:
    groups = read_groups(folder)
    assert groups.check(store="a" * 64, num_objects=40, where=folder) is groups
    for store, num_objects in (("b" * 64, 40), ("a" * 64, 41)):
        with pytest.raises(DataError, match="holds groups of 40 objects of the store aaaaaaaaaaaa…, this store is .*; run mcdist group again"):
            groups.check(store=store, num_objects=num_objects, where=folder)
