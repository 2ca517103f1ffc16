import json
import pickle
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from mcdist.data.files.files import LocalFiles
from mcdist.data.files.recent import Recent
from mcdist.data.readers.webdataset import WebDatasetReader
from mcdist.data.shards.index import SampleEntry, encode_index, index_name, parse_index
from mcdist.data.shards.manifest import ShardEntry
from mcdist.data.shards.sample import decode_sample
from mcdist.errors import ShardError
from tests.fixture_types import MakeShards, ShardsAt

SAMPLES = [SampleEntry("a", {"jpg": (512, 10), "mask.png": (1536, 5)}), SampleEntry("b", {"png": (2560, 7), "mask.png": (3584, 5), "seg.png": (4608, 5)})]
SHARD = ShardEntry("shard-000000.tar", num_samples=2, num_bytes=10_240, sha256="0" * 64, index_num_bytes=1, index_sha256="0" * 64)


def test_an_index_gives_back_what_was_written():
    index = parse_index(encode_index(SHARD.name, samples=SAMPLES), shard=SHARD, where="here")
    assert list(index) == SAMPLES
    assert len(index) == 2


def test_equal_samples_give_equal_bytes_whatever_the_order_of_their_members():
    turned = [replace(sample, members=dict(reversed(sample.members.items()))) for sample in SAMPLES]
    assert encode_index(SHARD.name, samples=SAMPLES) == encode_index(SHARD.name, samples=turned)


def test_the_index_lies_beside_its_tar():
    assert index_name("shard-000007.tar") == "shard-000007.index.json"


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda content: content.update(schema_version=1), "schema version is 1, the manifest's is 2: the folder mixes two builds"),
        (lambda content: content.update(shard="shard-000001.tar"), "2 samples of shard-000001.tar, the manifest 2 of shard-000000.tar"),
        (lambda content: content["keys"].pop(), "1 samples of shard-000000.tar, the manifest 2"),
        (lambda content: content.update(keys=["a", "a"]), "the key a comes twice"),
        (lambda content: content.update(keys=["a", 3]), "3 is no key"),
        (lambda content: content["members"].update(jpg=[[0, 10**30], None]), "leaves its shard of 10240 bytes"),
        (lambda content: content["members"].update(jpg=[[-5, 10], None]), "leaves its shard"),
        (lambda content: content["members"].update(jpg=[[3], None]), "not enough values"),
        (lambda content: content["members"].update(jpg=[[1.5, 2], None]), "leaves its shard"),
        (lambda content: content["members"].update(jpg=[None]), "listed for 1 of 2 samples"),
        (lambda content: content.update(members=["jpg"]), "no attribute"),
        (lambda content: content.pop("members"), "members"),
    ],
)
def test_a_hostile_index_is_one_sentence(change: Callable[[dict[str, Any]], object], reason: str) -> None:
    content = json.loads(encode_index(SHARD.name, samples=SAMPLES))
    change(content)
    with pytest.raises(ShardError, match="shard-0.json is no index of its shard") as caught:
        parse_index(json.dumps(content).encode(), shard=SHARD, where="shard-0.json")
    assert reason in str(caught.value)
    assert "\n" not in str(caught.value)


def test_an_index_of_another_build_is_refused(make_shards: MakeShards) -> None:
    folder = make_shards(10)
    path = folder / "shard-0001.index.json"
    path.write_bytes(path.read_bytes().replace(b"photo_0005", b"photo_1005"))
    reader = WebDatasetReader(folder)
    assert reader.key(4) == "photo_0004"
    with pytest.raises(ShardError, match=r"shard-0001.index.json has another SHA-256 than its manifest says; build the shards again"):
        reader.key(5)


def test_the_manifest_does_not_grow_with_the_samples_of_a_shard(shards_at: ShardsAt, tmp_path: Path) -> None:
    few, many = (len((shards_at(tmp_path / str(num), num, shard_size=num) / "manifest.json").read_bytes()) for num in (2, 200))
    assert many - few < 20, "some digits"


def test_what_travels_to_a_worker_does_not_grow_with_what_was_read(make_shards: MakeShards) -> None:
    reader = WebDatasetReader(make_shards(20))
    before = len(pickle.dumps(reader))
    for index in range(20):
        reader.read(index)
    assert len(pickle.dumps(reader)) == before


def test_a_missing_index_is_named(make_shards: MakeShards) -> None:
    folder = make_shards(5)
    (folder / "shard-0000.index.json").unlink()
    with pytest.raises(ShardError, match=r"cannot read .*shard-0000.index.json \(No such file or directory\)"):
        WebDatasetReader(folder).read(0)


def test_a_reader_travels_without_what_it_holds_open(make_shards: MakeShards) -> None:
    reader = WebDatasetReader(make_shards(10))
    wanted = decode_sample(reader.read(7))
    again = pickle.loads(pickle.dumps(reader))
    assert isinstance(again.files, LocalFiles)
    assert len(again._indexes) == len(again.files._descriptors) == 0
    assert decode_sample(again.read(7)).photo.equal(wanted.photo)


def test_indexes_and_descriptors_held_open_are_bounded(make_shards: MakeShards, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mcdist.data.readers.webdataset.MAX_INDEXED_SAMPLES", 4)
    monkeypatch.setattr("mcdist.data.files.files.MAX_DESCRIPTORS", 3)
    reader = WebDatasetReader(make_shards(20, shard_size=2))
    for index in [*range(20), *reversed(range(20))]:
        assert reader.read(index).key == f"photo_{index:04d}"
        assert reader._indexes.total <= 4
        assert isinstance(reader.files, LocalFiles) and len(reader.files._descriptors) <= 3


def put(recent: Recent[str, int], key: str, value: int) -> None:
    recent.get(key, make=lambda: value)


def test_what_was_used_longest_ago_is_closed_first() -> None:
    closed: list[int] = []
    recent: Recent[str, int] = Recent(2, cost=lambda value: 1, close=closed.append)
    for key, value in [("a", 1), ("b", 2), ("a", 9), ("c", 3)]:
        put(recent, key, value)
    assert closed == [2]
    assert recent.get("a", make=lambda: 0) == 1
    recent.clear()
    assert sorted(closed) == [1, 2, 3]


def test_a_value_above_the_limit_is_held_alone() -> None:
    recent: Recent[str, int] = Recent(10, cost=lambda value: value, close=lambda value: None)
    for key, value in [("a", 5), ("b", 50)]:
        put(recent, key, value)
    assert len(recent) == 1 and recent.total == 50
