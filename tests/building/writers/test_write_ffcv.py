"""FFCV files: equal bytes for equal photos, errors that end the build, builds that go on."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import Result

from mcdist.building.source import Photo
from mcdist.building.writers.ffcv import _lay_out, write_beton
from mcdist.building.writers.pack import Packed, Packing, pack
from mcdist.data.readers.ffcv import FfcvReader
from mcdist.data.shards.beton import read_beton
from mcdist.data.shards.manifest import read_manifest
from mcdist.data.shards.sample import decode_sample
from mcdist.errors import DataError
from tests.building.made_pictures import save_photo
from tests.makers.tiny_betons import jpeg_members

Run = Callable[..., Result]


def content_of(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def build(run: Run, photos: Path, out: Path, *options: object) -> Result:
    return run("build", "folder", photos, "--masks", photos.parent / "masks", "--out", out, "--format", "ffcv", *options)


def test_a_folder_of_photos_becomes_ffcv_files_that_the_reader_reads(run: Run, photos: Path, tmp_path: Path) -> None:
    result = build(run, photos, tmp_path / "out", "--shard-size", 4, "--workers", 1)
    assert result.exit_code == 0 and "6 photos in 2 shards" in result.output
    assert sorted(content_of(tmp_path / "out")) == ["manifest.json", "shard-000000.beton", "shard-000001.beton"]
    reader = FfcvReader(tmp_path / "out")
    assert [reader.key(index) for index in range(6)] == [f"p{number}" for number in range(6)]
    assert reader.members(3)["jpg"] == (photos / "p3.jpg").read_bytes(), "a photo keeps its own bytes"
    assert sorted(decode_sample(reader.read(3)).instances.unique().tolist()) == [-1, 0, 1, 2]


@pytest.mark.parametrize("mode", ["jpg", "raw", "smart"])
def test_a_rebuild_is_byte_identical_with_any_number_of_workers(run: Run, photos: Path, tmp_path: Path, mode: str) -> None:
    for name, workers in (("one", 1), ("three", 3)):
        assert build(run, photos, tmp_path / name, "--shard-size", 2, "--workers", workers, "--ffcv-photo", mode).exit_code == 0
    assert content_of(tmp_path / "one") == content_of(tmp_path / "three")


def test_another_format_or_kind_of_photo_needs_overwrite(run: Run, photos: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    build(run, photos, out, "--workers", 1)
    assert "complete already" in build(run, photos, out, "--workers", 1).output
    refused = build(run, photos, out, "--workers", 1, "--ffcv-photo", "raw")
    assert refused.exit_code == 2 and "ffcv_photo is 'jpg' there, 'raw' was asked for" in refused.output
    tars = ("build", "folder", photos, "--masks", tmp_path / "masks", "--out", out, "--workers", 1)
    refused = run(*tars)
    assert refused.exit_code == 2 and "format is 'ffcv' there, 'webdataset' was asked for" in refused.output
    assert run(*tars, "--overwrite").exit_code == 0
    assert not list(out.glob("*.beton"))
    assert build(run, photos, out, "--workers", 1, "--overwrite").exit_code == 0
    assert not list(out.glob("*.tar")) and not list(out.glob("*.index.json"))


def test_a_photo_that_cannot_be_kept_is_skipped_and_listed(run: Run, photos: Path, tmp_path: Path) -> None:
    (photos / "p2.jpg").write_bytes(b"no photo")
    assert build(run, photos, tmp_path / "out", "--workers", 1, "--max-skipped-share", 0.5).exit_code == 0
    manifest = read_manifest(tmp_path / "out")
    assert manifest.num_samples == 5 and [photo for photo, _ in manifest.skipped] == ["p2.jpg"]


@pytest.mark.parametrize("workers", [1, 2])
def test_an_error_ends_the_build_in_one_sentence(run: Run, photos: Path, tmp_path: Path, workers: int) -> None:
    (photos / "p2.jpg").write_bytes(b"no photo")
    refused = build(run, photos, tmp_path / "out", "--workers", workers, "--shard-size", 2, "--strict")
    assert refused.exit_code == 3 and "p2.jpg is neither JPEG nor PNG" in refused.output
    assert not [name for name in content_of(tmp_path / "out") if "000001" in name], "no half of a file stays"


def test_a_build_goes_on_where_it_was_stopped(run: Run, photos: Path, tmp_path: Path) -> None:
    options = ("--workers", 1, "--shard-size", 2)
    out = tmp_path / "out"
    bad = (photos / "p5.jpg").read_bytes()
    (photos / "p5.jpg").write_bytes(b"no photo")
    assert build(run, photos, out, *options, "--strict").exit_code == 3
    kept = {path.name: path.stat().st_mtime_ns for path in out.glob("*.beton")}
    assert sorted(kept) == ["shard-000000.beton", "shard-000001.beton"]
    (photos / "p5.jpg").write_bytes(bad)
    done = build(run, photos, out, *options, "--strict")
    assert done.exit_code == 0 and "2 shards kept from an earlier run" in done.output
    assert {name: (out / name).stat().st_mtime_ns for name in kept} == kept
    build(run, photos, tmp_path / "at_once", *options)
    assert content_of(out) == content_of(tmp_path / "at_once")


@pytest.mark.slow
def test_a_build_killed_in_the_middle_of_a_file_goes_on(run: Run, tmp_path: Path) -> None:
    arguments = ["build", "demo", "--num-train", "120", "--num-val", "1", "--size-px", "96", "--shard-size", "10", "--workers", "1", "--format", "ffcv"]
    arguments += ["--ffcv-photo", "raw", "--out"]
    killed = subprocess.Popen([sys.executable, "-m", "shards", *arguments, tmp_path / "killed"])
    deadline = time.monotonic() + 120
    while killed.poll() is None and not (tmp_path / "killed" / "train" / "shard-000002.beton").exists():
        assert time.monotonic() < deadline
        time.sleep(0.01)
    killed.send_signal(signal.SIGKILL)
    killed.wait()
    assert not (tmp_path / "killed" / "train" / "manifest.json").exists()
    assert "shards kept from an earlier run" in run(*arguments, tmp_path / "killed").output
    run(*arguments, tmp_path / "whole")
    assert content_of(tmp_path / "killed" / "train") == content_of(tmp_path / "whole" / "train")


def test_an_error_while_drawing_photos_leaves_nothing_behind(tmp_path: Path) -> None:
    def samples() -> Iterator[Packed]:
        yield pack(Photo(key="one", members=jpeg_members(0)), packing=Packing())
        raise DataError("the second photo is damaged")

    with pytest.raises(DataError, match="the second photo is damaged"):
        write_beton(tmp_path / "shard-000000.beton", samples=samples())
    assert not list(tmp_path.iterdir())


def test_no_photo_makes_no_file(tmp_path: Path) -> None:
    assert write_beton(tmp_path / "shard-000000.beton", samples=iter(())) is None
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["photo", "key", "a_name_of_17_letters"[:17], "größe"])
def test_a_member_that_ffcv_cannot_name_is_refused(name: str) -> None:
    with pytest.raises(DataError, match="FFCV cannot keep a member called"):
        pack(Photo(key="one", members={**jpeg_members(0), name: b"content"}), packing=Packing())


@pytest.mark.parametrize("content", [b"", b"\0"])
def test_an_empty_member_is_refused(content: bytes) -> None:
    with pytest.raises(DataError, match="sample one: its member json is empty"):
        pack(Photo(key="one", members={**jpeg_members(0), "json": content}), packing=Packing())


def test_a_photo_with_a_side_beyond_ffcv_is_refused(tmp_path: Path) -> None:
    wide = save_photo(tmp_path / "wide.png", width=65536, height=1)
    with pytest.raises(DataError, match="the photo is 65536 x 1, FFCV holds at most 65535 px a side"):
        pack(Photo(key="one", members={"png": wide.read_bytes(), "mask.png": jpeg_members(0)["mask.png"]}), packing=Packing())


@settings(max_examples=40)
@given(sizes=st.lists(st.integers(1, 2**20), min_size=1, max_size=30), data_at=st.integers(24, 2**22))
def test_no_allocation_crosses_a_page_and_none_overlap(sizes: list[int], data_at: int) -> None:
    offsets, end = _lay_out(numpy.array(sizes)[:, None], data_at=data_at, page_bytes=2**21)
    starts = offsets.ravel().tolist()
    ends = [start + size for start, size in zip(starts, sizes, strict=True)]
    assert all(start // 2**21 == (stop - 1) // 2**21 for start, stop in zip(starts, ends, strict=True))
    assert all(stop <= start for stop, start in zip([data_at, *ends], [*starts, end], strict=True))


def test_photos_larger_than_a_page_of_2_mib_get_larger_pages(tmp_path: Path) -> None:
    photo = Packed("one", 1, 1000, 1000, {"photo": os.urandom(3_000_000), "key": b'"one"', "mask.png": b"map"})
    path = tmp_path / "shard-000000.beton"
    write_beton(path, samples=[photo, photo])
    assert int.from_bytes(path.read_bytes()[4:8], "little") == 2**24
    with path.open("rb") as file:
        beton = read_beton(file.fileno(), where=str(path))
    offsets, sizes = beton.extents["photo"].offsets.tolist(), beton.extents["photo"].sizes.tolist()
    assert [path.read_bytes()[start : start + size] for start, size in zip(offsets, sizes, strict=True)] == [photo.fields["photo"]] * 2
