"""Class trees and tars of photos become shards as folders do."""

import io
import json
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import Result

from mcdist.building.pictures.treatment import Treatment
from mcdist.building.sources.tar import tar_source
from mcdist.data.readers.webdataset import WebDatasetReader
from mcdist.data.shards.manifest import read_manifest
from mcdist.data.shards.sample import decode_sample
from mcdist.errors import DataError
from tests.building.made_pictures import save_mask, save_photo

Run = Callable[..., Result]


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    for name in ("n01/a.JPEG", "n01/b.JPEG", "n02/a.JPEG"):
        save_photo(tmp_path / "tree" / name.replace(".JPEG", ".jpg"))
        (tmp_path / "tree" / name.replace(".JPEG", ".jpg")).rename(tmp_path / "tree" / name)
        save_mask(tmp_path / "masks" / name.replace(".JPEG", ".png"))
    return tmp_path / "tree"


def pack(path: Path, folder: Path, *, names: dict[str, str] | None = None) -> Path:
    """All files of `folder` as a tar, under other names where `names` has some."""
    with tarfile.open(path, "w") as tar:
        for file in sorted(folder.rglob("*")):
            name = file.relative_to(folder).as_posix()
            if file.is_file():
                info = tar.gettarinfo(file)
                info.name = (names or {}).get(name, name)
                with file.open("rb") as content:
                    tar.addfile(info, content)
    return path


def keys_of(folder: Path) -> list[str]:
    reader = WebDatasetReader(folder)
    return [reader.key(index) for index in range(len(reader))]


def test_a_tree_keeps_the_class_folder_in_the_json_and_nowhere_else(run: Run, tree: Path, tmp_path: Path) -> None:
    result = run("build", "tree", tree, "--masks", tmp_path / "masks", "--out", tmp_path / "out", "--workers", 1, "--strict")
    assert result.exit_code == 0, result.output
    assert keys_of(tmp_path / "out") == ["n01__a", "n01__b", "n02__a"]
    info = json.loads(WebDatasetReader(tmp_path / "out").members(2)["json"])
    assert info["class_folder"] == "n02" and info["source"] == "tree"


def test_a_folder_without_class_folders_is_no_tree(run: Run, photos: Path, tmp_path: Path) -> None:
    result = run("build", "tree", photos, "--masks", tmp_path / "masks", "--out", tmp_path / "out")
    assert result.exit_code == 3 and "expected class folders" in result.stderr and "build folder" in result.stderr


def test_two_photos_of_one_mask_are_not_both_taken(run: Run, photos: Path, tmp_path: Path) -> None:
    save_photo(photos / "p0.png")
    result = run("build", "folder", photos, "--masks", tmp_path / "masks", "--out", tmp_path / "out", "--workers", 1, "--max-skipped-share", 0.2)
    assert result.exit_code == 0 and len(keys_of(tmp_path / "out")) == 6
    ((photo, reason),) = read_manifest(tmp_path / "out").skipped
    assert photo == "p0.png" and "p0.png and p0.jpg differ in their suffix only" in reason


@pytest.mark.parametrize("masks", ["folder", "tar"])
def test_photos_of_tars_are_those_of_the_folder(run: Run, tree: Path, tmp_path: Path, masks: str) -> None:
    first = pack(tmp_path / "first.tar", tree / "n01")
    second = pack(tmp_path / "second.tar", tree / "n02", names={"a.JPEG": "./deep/a.JPEG"})
    for name in ("a.png", "b.png"):
        save_mask(tmp_path / "flat" / name)
    save_mask(tmp_path / "flat" / "deep" / "a.png")
    where = tmp_path / "flat" if masks == "folder" else pack(tmp_path / "masks.tar", tmp_path / "flat")
    result = run("build", "tar", first, second, "--masks", where, "--labels", where, "--out", tmp_path / "out", "--workers", 1, "--strict")
    assert result.exit_code == 0, result.output
    assert keys_of(tmp_path / "out") == ["a", "b", "deep__a"]
    raw = WebDatasetReader(tmp_path / "out").read(2, with_segments=True)
    assert raw.photo == (tree / "n02" / "a.JPEG").read_bytes()
    assert decode_sample(raw, with_segments=True).instances.unique().tolist() == [-1, 0, 1, 2]


def test_a_tar_without_a_mask_or_with_hostile_or_repeated_names_lists_them(run: Run, tree: Path, tmp_path: Path) -> None:
    names = {"a.JPEG": "../a.JPEG"}
    first = pack(tmp_path / "first.tar", tree / "n01", names=names)
    second = pack(tmp_path / "second.tar", tree / "n01", names={"a.JPEG": "/etc/a.JPEG"})
    third = pack(tmp_path / "third.tar", tree / "n02")
    masks = pack(tmp_path / "masks.tar", tmp_path / "masks" / "n01", names={"a.png": "other.png"})
    result = run("build", "tar", first, second, third, "--masks", masks, "--out", tmp_path / "out", "--workers", 1, "--max-skipped-share", 0.9)
    assert result.exit_code == 0, result.output
    assert keys_of(tmp_path / "out") == ["b"]
    reasons = [reason for _, reason in read_manifest(tmp_path / "out").skipped]
    assert len(reasons) == 4
    assert sum("leads out of the tar" in reason for reason in reasons) == 2
    assert sum("has the same name" in reason for reason in reasons) == 1
    assert sum("expected a.png in the masks" in reason and "masks.tar" in reason for reason in reasons) == 1


def spoilt(path: Path, content: bytes) -> Path:
    path.write_bytes(content)
    return path


def test_tars_that_cannot_be_read_by_offset_are_said(tree: Path, tmp_path: Path) -> None:
    tar = pack(tmp_path / "photos.tar", tree)
    content = tar.read_bytes()
    with tarfile.open(tmp_path / "small.tar.gz", "w:gz") as packed:
        packed.add(tree)
    with tarfile.open(tar) as opened:
        second = opened.getmembers()[1]
    flipped = bytearray(content)
    flipped[second.offset + 150] ^= 0xFF
    cases = [
        (tmp_path / "none.tar", "found nothing there"),
        (tmp_path / "small.tar.gz", "no uncompressed tar"),
        (spoilt(tmp_path / "text.tar", b"hello"), "no uncompressed tar"),
        (spoilt(tmp_path / "cut.tar", content[: second.offset_data + 100]), "should end at byte|unexpected end"),
        (spoilt(tmp_path / "flipped.tar", bytes(flipped)), f"damaged header at byte {second.offset:,}"),
        (spoilt(tmp_path / "empty.tar", bytes(10240)), "expected photos in"),
    ]
    for path, why in cases:
        with pytest.raises(DataError, match=why):
            tar_source([path], masks=[tmp_path / "masks"], labels=[], treatment=Treatment())


def test_a_tar_that_shrinks_after_planning_is_noticed(tree: Path, tmp_path: Path) -> None:
    tar = pack(tmp_path / "photos.tar", tree)
    source = tar_source([tar], masks=[tmp_path / "masks"], labels=[], treatment=Treatment())
    with tarfile.open(tar) as opened:
        first = opened.getmembers()[0]
    tar.write_bytes(tar.read_bytes()[: first.offset_data + 88])
    with pytest.raises(DataError, match=r"n01/a.JPEG should be \d+ bytes, the tar ends after 88"):
        source.make(source.items[0])


def test_links_and_folders_in_a_tar_are_no_photos(tree: Path, tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "links.tar", "w") as tar:
        link = tarfile.TarInfo("n09/a.jpg")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        tar.addfile(link)
        content = (tree / "n01" / "a.JPEG").read_bytes()
        photo = tarfile.TarInfo("n01/a.jpg")
        photo.size = len(content)
        tar.addfile(photo, io.BytesIO(content))
    source = tar_source([tmp_path / "links.tar"], masks=[tmp_path / "masks"], labels=[], treatment=Treatment())
    assert [item.photo for item in source.items] == ["n01/a.jpg"]
