import json
import os
import pickle
import subprocess
import sys
from pathlib import Path

import numpy
import pytest
import torch

from mcdist.building.writers.pack import Packing
from mcdist.data.readers.ffcv import FfcvReader
from mcdist.data.readers.open import open_shards
from mcdist.data.readers.webdataset import WebDatasetReader
from mcdist.data.shards.sample import decode_sample
from mcdist.errors import ShardError
from tests.makers.ffcv_or_skip import ffcv_or_skip
from tests.makers.tiny_betons import jpeg_members, tiny_betons
from tests.makers.tiny_shards import draw_members, tiny_shards

TESTS = Path(__file__).parents[2]
MODES = ["jpg", "raw", "smart"]
CACHES = ["os", "process"]


@pytest.mark.parametrize("members_of", [draw_members, jpeg_members])
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("cache", CACHES)
def test_a_sample_decodes_to_what_its_tar_gives(tmp_path, members_of, mode, cache):
    tars = WebDatasetReader(tiny_shards(tmp_path / "tars", 7, members_of=members_of))
    betons = FfcvReader(tiny_betons(tmp_path / "betons", 7, members_of=members_of, packing=Packing(mode)), cache=cache)
    assert len(betons) == len(tars)
    with_segments = members_of is draw_members
    for index in range(7):
        wanted = decode_sample(tars.read(index, with_segments=with_segments), with_segments=with_segments)
        found = decode_sample(betons.read(index, with_segments=with_segments), with_segments=with_segments)
        assert betons.key(index) == found.key == wanted.key
        assert torch.equal(found.photo, wanted.photo)
        assert torch.equal(found.instances, wanted.instances)
        if with_segments:
            assert found.segments is not None and wanted.segments is not None and torch.equal(found.segments, wanted.segments)


@pytest.mark.parametrize("mode", ["RGB", "L", "CMYK"])
@pytest.mark.parametrize("orientation", [None, 6])
def test_every_jpeg_shows_the_same_upright_pixels(tmp_path, mode, orientation):
    def members_of(index: int) -> dict[str, bytes]:
        return jpeg_members(index, mode=mode, orientation=orientation)

    tars = WebDatasetReader(tiny_shards(tmp_path / "tars", 2, members_of=members_of))
    betons = FfcvReader(tiny_betons(tmp_path / "betons", 2, members_of=members_of))
    raw = betons.read(1)
    assert isinstance(raw.photo, bytes) == (mode != "CMYK" and orientation is None), "a JPEG that FFCV's decoder shows otherwise is kept as pixels"
    assert torch.equal(decode_sample(raw).photo, decode_sample(tars.read(1)).photo)


def test_ground_truth_is_read_only_when_asked_for(tmp_path):
    betons = FfcvReader(tiny_betons(tmp_path, 2))
    assert betons.read(0).segments is None
    assert betons.read(0, with_segments=True).segments is not None


@pytest.mark.parametrize("mode", MODES)
def test_a_sample_is_one_read_without_its_ground_truth(tmp_path, mode, monkeypatch):
    betons = FfcvReader(tiny_betons(tmp_path, 2, packing=Packing(mode)), cache="process")
    betons.read(0)
    truth = int(betons.shard(0).beton.extents["seg.png"].offsets[1])
    reads: list[tuple[int, int]] = []
    preadv = os.preadv

    def noted(file, buffers, offset):
        reads.append((offset, offset + len(buffers[0])))
        return preadv(file, buffers, offset)

    monkeypatch.setattr(os, "preadv", noted)
    betons.read(1)
    assert len(reads) == 1 and reads[0][1] <= truth


def test_a_sample_may_lack_a_member_that_others_have(tmp_path):
    def members_of(index: int) -> dict[str, bytes]:
        members = draw_members(index)
        return members if index % 2 else {name: content for name, content in members.items() if name not in ("seg.png", "json")}

    betons = FfcvReader(tiny_betons(tmp_path, 4, members_of=members_of, packing=Packing(lossless=True)))
    for index in range(4):
        assert betons.members(index) == members_of(index)
    assert betons.read(0, with_segments=True).segments is None


@pytest.mark.parametrize("labels", [[b"3", b"-7", b"0"], [b"3", b"007", b"cat"]])
def test_a_class_label_comes_back_as_it_was(tmp_path, labels):
    betons = FfcvReader(tiny_betons(tmp_path, 3, members_of=lambda index: {**jpeg_members(index), "cls": labels[index]}))
    assert [betons.members(index)["cls"] for index in range(3)] == labels


def test_a_reader_travels_to_a_worker_without_its_open_files(tmp_path):
    betons = FfcvReader(tiny_betons(tmp_path, 2))
    wanted = decode_sample(betons.read(1))
    there = pickle.loads(pickle.dumps(betons))
    assert torch.equal(decode_sample(there.read(1)).photo, wanted.photo)


def test_a_missing_file_is_one_sentence(tmp_path):
    folder = tiny_betons(tmp_path, 2)
    (folder / "shard-000000.beton").unlink()
    with pytest.raises(ShardError, match=r"shard-000000\.beton: cannot open the shard \(No such file or directory\)"):
        FfcvReader(folder).read(0)


def test_a_file_cut_under_a_running_reader_is_one_sentence(tmp_path):
    betons = FfcvReader(tiny_betons(tmp_path, 2), cache="process")
    betons.read(0)
    os.truncate(tmp_path / "shard-000000.beton", 4000)
    with pytest.raises(ShardError, match=r"shard-000000\.beton, sample 1: expected \d+ bytes from byte \d+ on, found 0; check: mcdist shards verify"):
        betons.read(1)


@pytest.mark.parametrize("mode", ["jpg", "raw"])
def test_fetched_files_are_read_the_same_and_a_damaged_copy_is_fetched_again(tmp_path, mode):
    folder = tiny_betons(tmp_path / "there", 7, members_of=jpeg_members, packing=Packing(mode))
    fetched, local = open_shards(folder, stage_to=str(tmp_path / "here")), FfcvReader(folder)
    for index in range(7):
        assert torch.equal(decode_sample(fetched.read(index)).photo, decode_sample(local.read(index)).photo)
    for kept in (tmp_path / "here").glob("*.beton"):
        kept.write_bytes(b"damaged" + kept.read_bytes()[7:])
    again = open_shards(folder, stage_to=str(tmp_path / "here"))
    with pytest.raises(ShardError, match="expected version 2 of FFCV's format"):
        again.read(3)
    assert again.fetch_again(3)
    assert torch.equal(decode_sample(again.read(3)).photo, decode_sample(local.read(3)).photo)


@pytest.mark.parametrize(("mode", "cache", "tolerance"), [("jpg", "os", 6), ("raw", "process", 0)])
def test_plain_ffcv_reads_the_files(tmp_path, mode, cache, tolerance):
    ffcv_or_skip()
    betons = FfcvReader(tiny_betons(tmp_path, 6, shard_size=6, members_of=lambda index: jpeg_members(5 * index), packing=Packing(mode)))
    command = [sys.executable, TESTS / "makers" / "plain_ffcv.py", tmp_path / "shard-000000.beton", cache, tmp_path / "read.npz"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    with numpy.load(tmp_path / "read.npz") as read:
        assert json.loads(str(read["key"])) == [betons.key(index) for index in range(6)]
        assert json.loads(str(read["json"])) == [{"source": "tiny"}] * 6
        for index in range(6):
            wanted = decode_sample(betons.read(index))
            difference = read["photo"][index].astype(int) - wanted.photo.permute(1, 2, 0).numpy()
            assert abs(difference).max() <= tolerance, "FFCV decodes JPEGs with a faster, coarser transform"
            assert read["mask.png"][index].tobytes().startswith(betons.members(index)["mask.png"])
