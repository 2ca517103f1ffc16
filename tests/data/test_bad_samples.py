"""What a shard may have suffered, and what training makes of it: one sentence with shard, key and byte, or a void sample that is counted."""

import io
import json
import os
import struct
import zlib
from collections.abc import Callable, Collection
from dataclasses import replace
from pathlib import Path

import numpy
import pytest
import torch
from PIL import Image

from mcdist.data.bad_samples import BadSample, shard_name, stand_in
from mcdist.data.loader import make_loader
from mcdist.data.readers.webdataset import WebDatasetReader
from mcdist.data.shards.manifest import read_manifest
from mcdist.data.shards.sample import decode_grey, decode_photo, decode_sample
from mcdist.errors import ConfigError, MachineError, ShardError
from mcdist.types import VOID
from tests.fixture_types import MakeShards, MakeViewSettings, MembersOf, RelistShard

BAD = 7
RUN = dict(seed=5, global_batch=4, accumulation_steps=1, block=3, num_lanes=2, consumed=0, num_steps=3, rank=0, num_ranks=1, prefetch=2, pin_memory=False)


def png(values: numpy.ndarray) -> bytes:
    file = io.BytesIO()
    Image.fromarray(values).save(file, format="PNG")
    return file.getvalue()


def bomb() -> bytes:
    """A sound PNG header of 60,000 x 60,000 pixels in 57 bytes."""
    chunks = [(b"IHDR", struct.pack(">IIBBBBB", 60_000, 60_000, 8, 2, 0, 0, 0)), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data)) for name, data in chunks)


def flipped(content: bytes) -> bytes:
    spoiled = bytearray(content)
    spoiled[-30] ^= 1
    return bytes(spoiled)


MEMBERS: dict[str, tuple[Callable[[dict[str, bytes]], dict[str, bytes]], str]] = {
    "no map": (lambda members: {name: content for name, content in members.items() if name != "mask.png"}, "expected a photo .* and mask.png"),
    "no photo": (lambda members: {name: content for name, content in members.items() if name != "png"}, "expected a photo"),
    "photo of no bytes": (lambda members: {**members, "png": b""}, "the photo is empty"),
    "map of no bytes": (lambda members: {**members, "mask.png": b""}, "the instance map is empty"),
    "decompression bomb": (lambda members: {**members, "png": bomb()}, "the photo is 60000 x 60000, at most 100,000,000 pixels are decoded"),
    "bomb of a map": (lambda members: {**members, "mask.png": bomb()}, "the instance map is 60000 x 60000, at most"),
    "map of another size": (
        lambda members: {**members, "mask.png": png(numpy.zeros((40, 50), dtype=numpy.uint8))},
        "the instance map is 50 x 40, its photo 52 x 40",
    ),
    "map with ids beyond 8 bits": (lambda members: {**members, "mask.png": png(numpy.full((40, 52), 300, dtype=numpy.uint16))}, "its header says 16 bits"),
    "map in colours": (lambda members: {**members, "mask.png": png(numpy.zeros((40, 52, 3), dtype=numpy.uint8))}, "PNG colour type 2"),
    "flipped bit in the map": (
        lambda members: {**members, "mask.png": flipped(members["mask.png"])},
        "the instance map is a damaged PNG: the chunk at its byte 33 does not fit its checksum",
    ),
    "flipped bit in the photo": (
        lambda members: {**members, "png": flipped(members["png"])},
        "the photo is a damaged PNG: the chunk at its byte 33 does not fit",
    ),
    "text for a photo": (lambda members: {**members, "png": b"404 not found"}, "is neither JPEG nor PNG"),
}


@pytest.fixture(params=MEMBERS)
def spoiled(request, make_shards: MakeShards, members_of: MembersOf) -> tuple[Path, str]:
    """12 samples of which number 7 has a bad member, and what is said of it."""
    change, reason = MEMBERS[request.param]
    return make_shards(12, members_of=lambda index: change(members_of(index)) if index == BAD else members_of(index)), reason


def loader_of(folder: Path, view_settings: MakeViewSettings, **changes):
    return make_loader(WebDatasetReader(folder), views=view_settings(), **{**RUN, "num_workers": 0, **changes})


def assert_skipped(folder: Path, view_settings: MakeViewSettings, *, reason: str, bad: Collection[int] = (BAD,)) -> list[BadSample]:
    """One epoch of 12: every sample in its place, the bad ones void in both views, the others as ever."""
    batches = list(loader_of(folder, view_settings, bad_samples="skip"))
    indices = torch.cat([batch.indices for batch in batches]).tolist()
    assert sorted(indices) == list(range(12))
    void = {
        index
        for batch in batches
        for index, query, key in zip(batch.indices.tolist(), batch.query_instances, batch.key_instances, strict=True)
        if bool((query == VOID).all() and (key == VOID).all())
    }
    listed = [BadSample(**json.loads(line)) for batch in batches for line in batch.bad]
    assert void == {sample.index for sample in listed} == set(bad)
    assert sum(batch.num_bad for batch in batches) == len(listed) == len(bad)
    assert sum(batch.num_emptied for batch in batches) == 0
    assert all(torch.isfinite(batch.query_images).all() for batch in batches)
    assert all(reason in sample.reason for sample in listed)
    return listed


def test_a_bad_sample_stops_the_run_with_shard_key_and_byte(spoiled, view_settings: MakeViewSettings):
    folder, reason = spoiled
    with pytest.raises(ShardError, match=rf"shard-0001.tar, sample photo_0007.*{reason}.*data.bad_samples=skip") as caught:
        list(loader_of(folder, view_settings))
    assert "\n" not in str(caught.value)
    is_there = not reason.startswith("expected a photo")
    assert ("at byte" in str(caught.value)) == is_there, "a member that is there is named with its place"


def test_a_bad_sample_that_is_skipped_keeps_its_place_and_is_listed(spoiled, view_settings: MakeViewSettings):
    (listed,) = assert_skipped(spoiled[0], view_settings, reason="")
    assert (listed.shard, listed.key, listed.epoch) == ("shard-0001.tar", "photo_0007", 0)


def test_skipping_changes_nothing_for_the_other_samples(make_shards: MakeShards, members_of: MembersOf, view_settings: MakeViewSettings):
    folder = make_shards(12, members_of=lambda index: {**members_of(index), "png": b""} if index == BAD else members_of(index))
    skipped = list(loader_of(folder, view_settings, bad_samples="skip"))
    sound = list(loader_of(make_shards(12), view_settings))
    for first, second in zip(skipped, sound, strict=True):
        good = first.indices != BAD
        assert first.indices.tolist() == second.indices.tolist()
        assert first.query_images[good].equal(second.query_images[good])


def test_a_truncated_tar_costs_the_samples_that_are_gone(make_shards: MakeShards, view_settings: MakeViewSettings):
    folder = make_shards(12)
    keys = {index: extent for index, extent in enumerate(WebDatasetReader(folder).read_index(1).extents["json"][:, 0].tolist(), start=5)}
    os.truncate(folder / "shard-0001.tar", keys[7])
    assert_skipped(folder, view_settings, reason="the tar ends after", bad={8, 9})


def test_a_missing_shard_is_told(make_shards: MakeShards, view_settings: MakeViewSettings):
    folder = make_shards(12)
    (folder / "shard-0001.tar").unlink()
    assert_skipped(folder, view_settings, reason="cannot open the shard (No such file or directory)", bad={5, 6, 7, 8, 9})


def test_an_index_of_another_build_costs_its_shard(make_shards: MakeShards, view_settings: MakeViewSettings):
    folder = make_shards(12)
    path = folder / "shard-0001.index.json"
    path.write_bytes(path.read_bytes().replace(b'"schema_version":2', b'"schema_version":1'))
    listed = assert_skipped(folder, view_settings, reason="the folder mixes two builds", bad={5, 6, 7, 8, 9})
    assert {sample.key for sample in listed} == {""}


def test_two_equal_keys_in_a_shard_are_refused(make_shards: MakeShards, relist_shard: RelistShard, view_settings: MakeViewSettings):
    folder = relist_shard(make_shards(12), place=1, change=lambda samples: [replace(entry, key="photo_0005") for entry in samples])
    assert_skipped(folder, view_settings, reason="the key photo_0005 comes twice", bad={5, 6, 7, 8, 9})


def test_a_manifest_that_promises_other_samples_than_the_index_is_refused(make_shards: MakeShards, relist_shard: RelistShard, view_settings: MakeViewSettings):
    folder = make_shards(12)
    sound = (folder / "shard-0001.index.json").read_bytes()
    relist_shard(folder, place=1, change=lambda samples: samples[:-1])
    (folder / "shard-0001.index.json").write_bytes(sound)
    with pytest.raises(ShardError, match=r"lists 5 samples of shard-0001.tar, the manifest 4"):
        WebDatasetReader(folder).read(6)


def test_a_machine_that_fails_is_no_bad_sample(make_shards: MakeShards, view_settings: MakeViewSettings, monkeypatch):
    loader = loader_of(make_shards(12), view_settings, bad_samples="skip")

    def fail(index, **options):
        raise MachineError("the network is down")

    monkeypatch.setattr(loader.dataset.reader, "read", fail)
    with pytest.raises(MachineError, match="the network is down"):
        list(loader)


def test_the_shard_of_a_sample_is_known_from_the_manifest(make_shards: MakeShards):
    manifest = read_manifest(make_shards(12))
    assert [shard_name(manifest, index=index) for index in (0, 4, 5, 11)] == ["shard-0000.tar", "shard-0000.tar", "shard-0001.tar", "shard-0002.tar"]


def test_a_stand_in_has_no_pixel_that_counts():
    sample = decode_sample(stand_in("key"))
    assert (sample.instances == VOID).all()
    assert sample.photo.sum() == 0


@pytest.mark.parametrize("member", ["png", "mask.png"])
def test_a_damaged_png_never_ends_the_process(members_of: MembersOf, member):
    """torchvision's decoder of PNG does, on most flipped bits, also where the checksum was made to fit."""
    sound, num_refused = members_of(3)[member], 0
    for place in range(0, len(sound), max(1, len(sound) // 100)):
        content = bytearray(sound)
        content[place] ^= 1
        try:
            decode_photo(bytes(content), where="here") if member == "png" else decode_grey(bytes(content), where="here")
        except ShardError as error:
            assert "cannot be decoded" in str(error)
            num_refused += 1
    assert num_refused > 50


def test_the_share_of_bad_samples_is_a_share():
    from mcdist.config import DataConfig

    with pytest.raises(ConfigError, match="data.bad_samples_max_share must be between 0 and 1"):
        DataConfig(bad_samples_max_share=2.0)
