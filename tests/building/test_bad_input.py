"""Bad input ends in one sentence that names the file and the remedy, with a non-zero exit and no stack trace."""

import errno
import os
from collections.abc import Callable
from pathlib import Path

import numpy
import pytest
import torchvision
from PIL import Image
from typer.testing import Result

from mcdist.building.writers import webdataset as write_webdataset
from mcdist.data.readers.webdataset import WebDatasetReader
from mcdist.data.shards.manifest import read_manifest
from mcdist.data.shards.sample import decode_photo, decode_sample
from tests.building.made_pictures import random_pixels, save_mask, save_photo

Run = Callable[..., Result]


def build(run: Run, tmp_path: Path, *options: object) -> Result:
    return run("build", "folder", tmp_path / "photos", "--masks", tmp_path / "masks", "--out", tmp_path / "out", "--workers", 1, *options)


def assert_one_sentence(result: Result, *parts: str, exit_code: int = 3) -> None:
    assert result.exit_code == exit_code, result.output
    (line,) = result.stderr.strip().splitlines()
    assert line.startswith("mcdist: ")
    for part in parts:
        assert part in line, line


def test_a_missing_folder_is_named(run: Run, photos: Path, tmp_path: Path) -> None:
    result = run("build", "folder", tmp_path / "nowhere", "--masks", tmp_path / "masks", "--out", tmp_path / "out")
    assert_one_sentence(result, "nowhere", "found nothing", "check the path")
    assert_one_sentence(run("build", "folder", photos, "--masks", tmp_path / "nomasks", "--out", tmp_path / "out"), "nomasks", "check the path")
    assert not (tmp_path / "out").exists()


def test_an_empty_data_set_is_said(run: Run, tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    (tmp_path / "masks").mkdir()
    assert_one_sentence(build(run, tmp_path), "expected photos", "found none", "photos")


@pytest.mark.parametrize(
    ("spoil", "parts"),
    [
        (lambda photo, mask: mask.unlink(), ("p2.png", "mask", "found none")),
        (lambda photo, mask: save_mask(mask, width=40), ("p2.png", "48 x 32", "40 x 32", "same size")),
        (lambda photo, mask: photo.write_bytes(photo.read_bytes()[:400]), ("p2.jpg", "damaged", "replace it")),
        (lambda photo, mask: photo.write_bytes(b""), ("p2.jpg", "empty", "convert it")),
        (lambda photo, mask: photo.write_bytes(b"GIF89a and more"), ("p2.jpg", "neither JPEG nor PNG", "convert it")),
        (lambda photo, mask: mask.write_bytes(b"\x89PNG\r\n\x1a\nrest"), ("p2.png", "cannot be read", "save it again")),
        (lambda photo, mask: save_mask(mask, values=numpy.zeros((32, 48), dtype=numpy.uint8)), ("p2.png", "no object", "--keep-empty")),
        (lambda photo, mask: save_mask(mask, values=random_pixels()), ("p2.png", "colour picture", "grey or palette")),
    ],
    ids=["no mask", "mask size", "cut photo", "empty photo", "not a photo", "broken mask", "no object", "colour mask"],
)
def test_a_bad_photo_is_skipped_and_listed_and_strict_makes_it_an_error(
    run: Run, photos: Path, tmp_path: Path, spoil: Callable[[Path, Path], object], parts: tuple[str, ...]
) -> None:
    spoil(photos / "p2.jpg", tmp_path / "masks" / "p2.png")
    assert_one_sentence(build(run, tmp_path, "--strict"), *parts)
    skipping = build(run, tmp_path, "--max-skipped-share", 0.2)
    assert skipping.exit_code == 0 and "5 photos" in skipping.output and "skipped: 1 of 6 photos" in skipping.output
    ((photo, reason),) = read_manifest(tmp_path / "out").skipped
    assert photo == "p2.jpg" and all(part in reason for part in parts)
    assert_one_sentence(build(run, tmp_path, "--strict"), "--strict", "p2")


def test_more_skipped_photos_than_allowed_stop_the_build_and_keep_what_is_finished(run: Run, photos: Path, tmp_path: Path) -> None:
    for number in (1, 4):
        (tmp_path / "masks" / f"p{number}.png").unlink()
    options = ("--shard-size", 2)
    assert_one_sentence(build(run, tmp_path, *options), "1 of 6 photos", "--max-skipped-share 0.05", "p1.jpg", "raise the share")
    assert_one_sentence(build(run, tmp_path, *options, "--max-skipped-share", 0.2), "2 of 6 photos", "--max-skipped-share 0.2")
    assert not (tmp_path / "out" / "manifest.json").exists()
    finished = build(run, tmp_path, *options, "--max-skipped-share", 0.4)
    assert finished.exit_code == 0 and "shards kept" in finished.output
    assert_one_sentence(build(run, tmp_path, *options), "2 of 6 photos", "--max-skipped-share 0.05")


def test_no_usable_photo_at_all_is_an_error(run: Run, photos: Path, tmp_path: Path) -> None:
    for mask in (tmp_path / "masks").iterdir():
        mask.unlink()
    assert_one_sentence(build(run, tmp_path, "--max-skipped-share", 1), "none of the 6 photos", "p0")
    assert not (tmp_path / "out" / "manifest.json").exists()


def test_a_16_bit_photo_is_refused_with_the_way_out(run: Run, photos: Path, tmp_path: Path) -> None:
    (photos / "p2.jpg").unlink()
    Image.fromarray(random_pixels()[..., 0].astype(numpy.uint16) * 257).save(photos / "p2.png")
    assert_one_sentence(build(run, tmp_path, "--strict"), "p2.png", "16 bits", "8-bit PNG")


def test_a_picture_of_another_format_is_not_passed_over(run: Run, photos: Path, tmp_path: Path) -> None:
    Image.fromarray(random_pixels()).save(photos / "p9.webp")
    assert_one_sentence(build(run, tmp_path, "--strict"), "p9.webp", "neither JPEG nor PNG", "convert it")


@pytest.mark.parametrize("mode", ["L", "CMYK"])
def test_grey_and_cmyk_photos_keep_their_bytes_and_read_as_rgb(run: Run, photos: Path, tmp_path: Path, mode: str) -> None:
    save_photo(photos / "p0.jpg", mode=mode)
    assert build(run, tmp_path, "--strict").exit_code == 0
    content = WebDatasetReader(tmp_path / "out").read(0).photo
    assert isinstance(content, bytes) and content == (photos / "p0.jpg").read_bytes()
    with Image.open(photos / "p0.jpg") as image:
        wanted = numpy.asarray(image.convert("RGB")).astype(int)
    pixels = decode_photo(content, where="p0").permute(1, 2, 0).numpy().astype(int)
    assert abs(pixels - wanted).max() <= 3


def test_a_photo_turned_by_exif_wants_an_upright_mask(run: Run, photos: Path, tmp_path: Path) -> None:
    save_photo(photos / "p0.jpg", orientation=6)
    assert_one_sentence(build(run, tmp_path, "--strict"), "p0.png", "32 x 48", "before its EXIF rotation", "upright")
    save_mask(tmp_path / "masks" / "p0.png", width=32, height=48)
    assert build(run, tmp_path, "--strict").exit_code == 0
    sample = decode_sample(WebDatasetReader(tmp_path / "out").read(0))
    assert tuple(sample.photo.shape) == (3, 48, 32) and tuple(sample.instances.shape) == (48, 32)


@pytest.mark.parametrize(("side_px", "why"), [(10_500, "has 10500 x 10500 pixels"), (20_000, "has 20000 x 20000 pixels")])
def test_a_photo_or_mask_of_too_many_pixels_is_not_decoded(run: Run, photos: Path, tmp_path: Path, side_px: int, why: str) -> None:
    bomb = (photos / "p6.png", tmp_path / "masks" / "p3.png")
    for path in bomb:
        Image.new("1", (side_px, side_px)).save(path)
    save_mask(tmp_path / "masks" / "p6.png")
    assert build(run, tmp_path, "--max-skipped-share", 0.5).exit_code == 0
    skipped = dict(read_manifest(tmp_path / "out").skipped)
    assert skipped.keys() == {"p3.jpg", "p6.png"} and f"{why}, more than 100000000" in skipped["p6.png"] and "p3.png" in skipped["p3.jpg"]


def test_a_name_that_is_no_text_is_listed_with_its_bytes(run: Run, photos: Path, tmp_path: Path) -> None:
    os.link(photos / "p0.jpg", os.fsencode(photos) + b"/\xff.jpg")
    assert_one_sentence(build(run, tmp_path, "--strict"), "no UTF-8", "rename the photo")
    assert not (tmp_path / "out").exists(), "what planning finds is said before anything is built"
    assert build(run, tmp_path, "--max-skipped-share", 0.2).exit_code == 0
    ((photo, _),) = read_manifest(tmp_path / "out").skipped
    assert photo == "\\udcff.jpg" and read_manifest(tmp_path / "out").num_samples == 6


def test_keep_empty_keeps_a_photo_without_objects(run: Run, photos: Path, tmp_path: Path) -> None:
    save_mask(tmp_path / "masks" / "p0.png", values=numpy.zeros((32, 48), dtype=numpy.uint8))
    assert build(run, tmp_path, "--strict", "--keep-empty").exit_code == 0
    assert read_manifest(tmp_path / "out").num_samples == 6


def test_a_full_disk_is_said_and_finished_shards_stay(run: Run, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real, calls = write_webdataset.os.fsync, []

    def full(descriptor: int) -> None:
        calls.append(descriptor)
        if len(calls) > 3:  # tar, index and note of the first shard
            raise OSError(errno.ENOSPC, "No space left on device")
        real(descriptor)

    monkeypatch.setattr(write_webdataset.os, "fsync", full)
    assert_one_sentence(build(run, tmp_path, "--shard-size", 2), "no space left", "out", "free some space", exit_code=7)
    monkeypatch.setattr(write_webdataset.os, "fsync", real)
    left = [path.name for path in sorted((tmp_path / "out").iterdir())]
    assert left == [".shard-000000.json", "shard-000000.index.json", "shard-000000.tar"], "nothing half-written stays"
    assert "1 shards kept" in build(run, tmp_path, "--shard-size", 2).output


def test_an_out_that_is_a_file_is_refused(run: Run, photos: Path, tmp_path: Path) -> None:
    (tmp_path / "out").write_text("a file")
    assert_one_sentence(build(run, tmp_path), "cannot make the folder", "choose another --out", exit_code=7)


def test_voc_says_what_it_misses(run: Run, tmp_path: Path) -> None:
    out = ("--out", tmp_path / "out")
    assert_one_sentence(run("build", "voc", tmp_path, *out), "JPEGImages", "--download")
    voc = tmp_path / "VOCdevkit" / "VOC2012"
    save_photo(voc / "JPEGImages" / "a.jpg")
    assert_one_sentence(run("build", "voc", tmp_path, *out), "saliency_supervised", "--proposals")
    save_mask(voc / "saliency_supervised" / "a.png")
    assert_one_sentence(run("build", "voc", tmp_path, *out), "SegmentationClassAug", "--no-labels")
    (voc / "ImageSets" / "Segmentation").mkdir(parents=True)
    (voc / "ImageSets" / "Segmentation" / "val.txt").write_text("../../secret\n")
    assert_one_sentence(run("build", "voc", tmp_path, "--no-labels", *out), "trainaug.txt", "that folder has: val")
    assert_one_sentence(run("build", "voc", tmp_path, "--no-labels", "--split", "val", *out), "'../../secret'", "an id is a file name")
    (voc / "ImageSets" / "Segmentation" / "val.txt").write_text("\n")
    assert_one_sentence(run("build", "voc", tmp_path, "--no-labels", "--split", "val", *out), "list is empty")
    (voc / "ImageSets" / "Segmentation" / "val.txt").write_text("a\n")
    result = run("build", "voc", tmp_path, "--no-labels", "--split", "val", "--hold-out", 1, *out)
    assert_one_sentence(result, "--hold-out", "choose fewer", exit_code=2)


def test_a_download_without_internet_says_what_to_do(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(root: str, **_: object) -> None:
        raise OSError("no route to the server")

    monkeypatch.setattr(torchvision.datasets, "VOCSegmentation", refuse)
    result = run("build", "voc", tmp_path, "--download", "--out", tmp_path / "out")
    assert_one_sentence(result, "cannot download VOC 2012", "no route to the server", "leave --download out", exit_code=7)


def test_objects_beyond_254_are_counted(run: Run, photos: Path, tmp_path: Path) -> None:
    save_mask(tmp_path / "masks" / "p0.png", values=numpy.arange(32 * 48, dtype=numpy.uint16).reshape(32, 48))
    result = build(run, tmp_path)
    assert result.exit_code == 0 and "more than 254 objects, the smallest became void: 1 photos" in result.output


def test_verify_and_inspect_of_no_shard_folder_say_so(run: Run, tmp_path: Path) -> None:
    assert_one_sentence(run("verify", tmp_path / "none"), "expected a shard folder", "none")
    assert_one_sentence(run("inspect", tmp_path), "manifest.json", "did not finish")


def test_a_folder_of_shard_folders_is_named_as_such(run: Run, tmp_path: Path) -> None:
    for split in ("train", "val"):
        (tmp_path / split).mkdir()
        (tmp_path / split / "manifest.json").write_text("{}")
    assert_one_sentence(run("verify", tmp_path), "name one of", "train", "val")
