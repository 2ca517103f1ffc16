"""mcdist shards: builds from folders and VOC, resuming, repeating, looking and checking."""

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest
import webdataset
from PIL import Image
from typer.testing import Result

from mcdist.data.readers.webdataset import WebDatasetReader
from mcdist.data.shards.manifest import read_manifest
from mcdist.data.shards.sample import decode_sample
from tests.building.made_pictures import save_mask, save_photo

Run = Callable[..., Result]
FILES = ["manifest.json", "shard-000000.index.json", "shard-000000.tar", "shard-000001.index.json", "shard-000001.tar"]


def content_of(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def test_a_folder_of_photos_becomes_shards_that_the_reader_reads(run: Run, photos: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    result = run("build", "folder", photos, "--masks", tmp_path / "masks", "--out", out, "--shard-size", 4, "--workers", 1)
    assert result.exit_code == 0 and "6 photos in 2 shards" in result.output
    reader = WebDatasetReader(out)
    assert [reader.key(index) for index in range(len(reader))] == [f"p{number}" for number in range(6)]
    raw = reader.read(3)
    assert raw.photo == (photos / "p3.jpg").read_bytes(), "a photo keeps its own bytes"
    assert sorted(decode_sample(raw).instances.unique().tolist()) == [-1, 0, 1, 2]
    assert sorted(content_of(out)) == FILES, "no sidecar stays"


@pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning")  # webdataset leaves its tars open
def test_the_tars_are_plain_webdataset(run: Run, photos: Path, tmp_path: Path) -> None:
    run("build", "folder", photos, "--masks", tmp_path / "masks", "--out", tmp_path / "out", "--workers", 1)
    samples = list(webdataset.WebDataset(str(tmp_path / "out" / "shard-000000.tar"), shardshuffle=False))
    assert [sample["__key__"] for sample in samples] == [f"p{number}" for number in range(6)]
    assert {"jpg", "mask.png", "json"} <= samples[0].keys()
    info = json.loads(samples[3]["json"])
    assert info["num_objects"] == 2 and info["photo"] == "p3.jpg"


def test_a_rebuild_is_byte_identical_with_any_number_of_workers(run: Run, photos: Path, tmp_path: Path) -> None:
    arguments = ("build", "folder", photos, "--masks", tmp_path / "masks", "--shard-size", 2)
    assert run(*arguments, "--out", tmp_path / "one", "--workers", 1).exit_code == 0
    for path in photos.iterdir():
        os.utime(path, (1, 1))
    assert run(*arguments, "--out", tmp_path / "three", "--workers", 3).exit_code == 0
    assert content_of(tmp_path / "one") == content_of(tmp_path / "three")


def test_a_complete_folder_with_the_same_options_is_left_as_it_is(run: Run, photos: Path, tmp_path: Path) -> None:
    arguments = ("build", "folder", photos, "--masks", tmp_path / "masks", "--out", tmp_path / "out", "--workers", 1)
    run(*arguments)
    before = (tmp_path / "out" / "manifest.json").stat().st_mtime_ns
    again = run(*arguments)
    assert again.exit_code == 0 and "complete already" in again.output
    assert (tmp_path / "out" / "manifest.json").stat().st_mtime_ns == before


def test_other_options_need_overwrite(run: Run, photos: Path, tmp_path: Path) -> None:
    arguments = ("build", "folder", photos, "--masks", tmp_path / "masks", "--out", tmp_path / "out", "--workers", 1)
    run(*arguments, "--shard-size", 2)
    (tmp_path / "out" / "notes.txt").write_text("mine")
    refused = run(*arguments, "--shard-size", 3)
    assert refused.exit_code == 2 and "shard_size is 2 there, 3 was asked for" in refused.output and "--overwrite" in refused.output
    assert run(*arguments, "--shard-size", 3, "--overwrite").exit_code == 0
    assert sorted(content_of(tmp_path / "out")) == sorted(["notes.txt", *FILES])


def test_tars_of_unknown_origin_are_not_replaced_unasked(run: Run, photos: Path, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "shard-000000.tar").write_bytes(b"somebody's")
    refused = run("build", "folder", photos, "--masks", tmp_path / "masks", "--out", tmp_path / "out")
    assert refused.exit_code == 2 and "unknown origin" in refused.output
    assert (tmp_path / "out" / "shard-000000.tar").read_bytes() == b"somebody's"


@pytest.mark.parametrize("num_workers", [1, 2])
def test_a_stopped_build_keeps_its_finished_shards(run: Run, photos: Path, tmp_path: Path, num_workers: int) -> None:
    sound = (photos / "p5.jpg").read_bytes()
    (photos / "p5.jpg").write_bytes(sound[: len(sound) // 2])
    arguments = ("build", "folder", photos, "--masks", tmp_path / "masks", "--out", tmp_path / "out", "--shard-size", 2, "--workers", num_workers)
    stopped = run(*arguments, "--strict")
    assert stopped.exit_code == 3 and "p5.jpg" in stopped.output
    assert not (tmp_path / "out" / "manifest.json").exists()
    kept = (tmp_path / "out" / "shard-000000.tar").stat().st_mtime_ns
    (photos / "p5.jpg").write_bytes(sound)
    finished = run(*arguments, "--strict")
    assert finished.exit_code == 0 and "kept from an earlier run" in finished.output
    assert (tmp_path / "out" / "shard-000000.tar").stat().st_mtime_ns == kept
    assert len(read_manifest(tmp_path / "out").shards) == 3


def test_a_finished_shard_whose_photo_or_tar_changed_is_built_again(run: Run, photos: Path, tmp_path: Path) -> None:
    sound = (photos / "p5.jpg").read_bytes()
    (photos / "p5.jpg").write_bytes(b"")
    arguments = ("build", "folder", photos, "--masks", tmp_path / "masks", "--out", tmp_path / "out", "--shard-size", 2, "--workers", 1, "--strict")
    run(*arguments)
    (photos / "p5.jpg").write_bytes(sound)
    save_photo(photos / "p0.jpg", seed=99)
    with (tmp_path / "out" / "shard-000001.tar").open("r+b") as file:
        file.write(b"damaged")
    assert run(*arguments).exit_code == 0
    assert WebDatasetReader(tmp_path / "out").read(0).photo == (photos / "p0.jpg").read_bytes()
    assert run("verify", tmp_path / "out").exit_code == 0


def test_verify_finds_a_flipped_byte_a_cut_and_a_lost_tar(run: Run, photos: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    run("build", "folder", photos, "--masks", tmp_path / "masks", "--out", out, "--shard-size", 2, "--workers", 1)
    sound = run("verify", out)
    assert sound.exit_code == 0 and "3 shards, 6 photos, 18 members" in sound.output
    content = bytearray((out / "shard-000000.tar").read_bytes())
    content[700] ^= 0xFF
    (out / "shard-000000.tar").write_bytes(content)
    (out / "shard-000001.tar").write_bytes((out / "shard-000001.tar").read_bytes()[:1500])
    (out / "shard-000002.tar").unlink()
    damaged = run("verify", out)
    assert damaged.exit_code == 3
    assert "shard-000000.tar has another SHA-256" in damaged.output and "shard-000001.tar has 1500 bytes" in damaged.output
    assert "shard-000002.tar cannot be read" in damaged.output


def test_inspect_prints_a_table_and_writes_a_contact_sheet(run: Run, photos: Path, tmp_path: Path) -> None:
    run("build", "folder", photos, "--masks", tmp_path / "masks", "--out", tmp_path / "out", "--workers", 1)
    shown = run("inspect", tmp_path / "out", "--num", 4)
    assert shown.exit_code == 0 and "objects a photo" in shown.output and "48 min, 48 median, 48 max px" in shown.output
    with Image.open(tmp_path / "out-sheet.png") as sheet:
        assert sheet.width > 800
    assert run("inspect", tmp_path / "out", "--sheet", tmp_path / "sheet.jpg").exit_code == 2


def test_nested_photos_with_dots_get_keys_that_a_tar_keeps_whole(run: Run, tmp_path: Path) -> None:
    for name in ("a/b.c", "a/b_c", "d"):
        save_photo(tmp_path / "photos" / f"{name}.jpg")
        save_mask(tmp_path / "masks" / f"{name}.png")
    assert run("build", "folder", tmp_path / "photos", "--masks", tmp_path / "masks", "--out", tmp_path / "out", "--workers", 1).exit_code == 0
    keys = WebDatasetReader(tmp_path / "out").read_index(0).keys
    assert len(set(keys)) == 3 and keys[2] == "d" and all(key.startswith("a__b_c-") for key in keys[:2])


def test_labels_are_kept_as_ground_truth(run: Run, photos: Path, tmp_path: Path) -> None:
    arguments = ("build", "folder", photos, "--masks", tmp_path / "masks", "--labels", tmp_path / "masks", "--out", tmp_path / "out", "--workers", 1)
    assert run(*arguments).exit_code == 0
    sample = decode_sample(WebDatasetReader(tmp_path / "out").read(0, with_segments=True), with_segments=True)
    assert sample.segments is not None and sorted(sample.segments.unique().tolist()) == [0, 1, 2, 255]


def test_short_side_shrinks_photo_mask_and_labels_together(run: Run, photos: Path, tmp_path: Path) -> None:
    save_photo(photos / "p1.jpg", width=20, height=10)
    save_mask(tmp_path / "masks" / "p1.png", width=20, height=10)
    arguments = ("build", "folder", photos, "--masks", tmp_path / "masks", "--labels", tmp_path / "masks", "--out", tmp_path / "out", "--workers", 1)
    assert run(*arguments, "--short-side", 16).exit_code == 0
    reader = WebDatasetReader(tmp_path / "out")
    shrunk, small = (decode_sample(reader.read(index, with_segments=True), with_segments=True) for index in (0, 1))
    assert tuple(shrunk.photo.shape) == (3, 16, 24) and sorted(shrunk.instances.unique().tolist())[-1] == 2
    assert tuple(small.photo.shape) == (3, 10, 20), "a small photo is never enlarged"


def test_voc_reads_the_list_the_proposals_and_the_labels(run: Run, tmp_path: Path) -> None:
    voc = make_voc(tmp_path, num=8)
    result = run("build", "voc", tmp_path, "--split", "trainaug", "--out", tmp_path / "out", "--workers", 1)
    assert result.exit_code == 0, result.output
    manifest = read_manifest(tmp_path / "out")
    assert manifest.num_samples == 8 and manifest.options["labels"] == "SegmentationClassAug"
    assert "seg.png" in WebDatasetReader(tmp_path / "out").read_index(0).extents
    assert str(tmp_path) not in json.dumps(manifest.options), "the same data elsewhere gives the same manifest"
    assert run("build", "voc", voc, "--no-labels", "--out", tmp_path / "bare", "--workers", 1).exit_code == 0
    assert "seg.png" not in WebDatasetReader(tmp_path / "bare").read_index(0).extents


def test_the_held_out_photos_and_the_rest_are_the_whole_list(run: Run, tmp_path: Path) -> None:
    make_voc(tmp_path, num=8)
    keys = {}
    for part in ("train", "held-out"):
        assert run("build", "voc", tmp_path, "--hold-out", 3, "--part", part, "--out", tmp_path / part, "--workers", 1).exit_code == 0
        keys[part] = set(WebDatasetReader(tmp_path / part).read_index(0).keys)
    assert len(keys["held-out"]) == 3 and len(keys["train"]) == 5 and not keys["train"] & keys["held-out"]


def test_an_ids_file_replaces_the_split(run: Run, tmp_path: Path) -> None:
    make_voc(tmp_path, num=8)
    (tmp_path / "mine.txt").write_text("id_3\nid_1\n")
    run("build", "voc", tmp_path, "--ids", tmp_path / "mine.txt", "--out", tmp_path / "out", "--workers", 1)
    assert WebDatasetReader(tmp_path / "out").read_index(0).keys == ("id_3", "id_1")


def make_voc(root: Path, *, num: int) -> Path:
    """A small VOC2012 folder with binary proposals."""
    voc = root / "VOCdevkit" / "VOC2012"
    lists = voc / "ImageSets" / "Segmentation"
    lists.mkdir(parents=True)
    (lists / "trainaug.txt").write_text("".join(f"id_{number}\n" for number in range(num)))
    for number in range(num):
        save_photo(voc / "JPEGImages" / f"id_{number}.jpg", seed=number)
        save_mask(voc / "saliency_supervised" / f"id_{number}.png")
        save_mask(voc / "SegmentationClassAug" / f"id_{number}.png")
    return voc
