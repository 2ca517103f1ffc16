"""The train/val split: a function of key and seed, whatever else is on the list."""

from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import Result

from mcdist.building.folder.split import split_source
from mcdist.building.pictures.treatment import Treatment
from mcdist.building.source import Item, problem_item
from mcdist.building.sources.files import FileSource
from mcdist.data.readers.webdataset import WebDatasetReader
from mcdist.data.shards.manifest import read_manifest
from mcdist.errors import ConfigError
from tests.building.made_pictures import save_mask, save_photo

Run = Callable[..., Result]


def source_of(keys: list[str]) -> FileSource:
    items = tuple(Item(key=key, photo=f"{key}.jpg", identity="") for key in keys)
    return FileSource(name="folder", items=items, proposals="masks", treatment=Treatment())


@settings(max_examples=30)
@given(num=st.integers(200, 400), share=st.floats(0.2, 0.8), seed=st.integers(0, 9))
def test_a_photo_added_later_moves_no_other(num: int, share: float, seed: int) -> None:
    keys = [f"k{number}" for number in range(num)]
    train, val = split_source(source_of(keys), val_share=share, seed=seed)
    fewer_train, fewer_val = split_source(source_of(keys[::-2]), val_share=share, seed=seed)
    assert {item.key for item in train.items} | {item.key for item in val.items} == set(keys) and len(train.items) + len(val.items) == num
    assert set(fewer_val.items) <= set(val.items) and set(fewer_train.items) <= set(train.items)
    assert abs(len(val.items) / num - share) < 0.15


def test_another_seed_gives_another_val() -> None:
    source = source_of([f"k{number}" for number in range(50)])
    assert split_source(source, val_share=0.5, seed=0)[1].items != split_source(source, val_share=0.5, seed=1)[1].items


def test_problems_belong_to_train_and_are_on_one_side_only() -> None:
    whole = source_of([f"k{number}" for number in range(50)])
    problems = tuple(problem_item(f"bad {number}", problem="no") for number in range(50))
    train, val = split_source(FileSource("folder", (*whole.items, *problems), "masks", Treatment()), val_share=0.5, seed=0)
    assert set(problems) <= set(train.items) and not set(problems) & set(val.items)


@pytest.mark.parametrize(("share", "num"), [(0.0, 5), (1.0, 5), (0.001, 2), (0.999, 2)])
def test_a_side_without_photos_is_refused(share: float, num: int) -> None:
    with pytest.raises(ConfigError, match="--val-share"):
        split_source(source_of([f"k{number}" for number in range(num)]), val_share=share, seed=0)


def test_both_sides_are_built(run: Run, tmp_path: Path) -> None:
    for number in range(20):
        save_photo(tmp_path / "photos" / f"p{number}.jpg", seed=number)
        save_mask(tmp_path / "masks" / f"p{number}.png")
    options = ("--masks", tmp_path / "masks", "--out", tmp_path / "out", "--val-share", 0.3, "--split-seed", 5, "--workers", 2, "--shard-size", 8)
    result = run("build", "folder", tmp_path / "photos", *options)
    assert result.exit_code == 0, result.output
    train, val = (read_manifest(tmp_path / "out" / part) for part in ("train", "val"))
    assert train.num_samples + val.num_samples == 20 and 0 < val.num_samples < 12
    assert (val.options["part"], val.options["val_share"], val.options["split_seed"]) == ("val", 0.3, 5)
    assert run("build", "folder", tmp_path / "photos", *options).output.count("complete already") == 2


def test_real_voc_photos_are_split(run: Run, shared_data: Path, tmp_path: Path) -> None:
    root = shared_data / "voc_animals"
    listed = (root / "VOCdevkit" / "VOC2012" / "ImageSets" / "Segmentation" / "val.txt").read_text().split()[:24]
    (tmp_path / "ids.txt").write_text("\n".join(listed))
    options = ("--ids", tmp_path / "ids.txt", "--val-share", 0.3, "--short-side", 64, "--out", tmp_path / "out", "--workers", 1, "--strict")
    assert run("build", "voc", root, *options).exit_code == 0
    keys = {part: set(WebDatasetReader(tmp_path / "out" / part).read_index(0).keys) for part in ("train", "val")}
    assert keys["train"] | keys["val"] == set(listed) and not keys["train"] & keys["val"]
    assert run("verify", tmp_path / "out" / "val").exit_code == 0
