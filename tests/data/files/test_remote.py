"""Shards at a URL: fetched whole, checked, tried again, kept within bounds and shared. A real server on loopback, real processes."""

import multiprocessing
import os
import threading
from collections.abc import Iterator
from multiprocessing.queues import Queue
from multiprocessing.synchronize import Barrier
from pathlib import Path
from typing import Any

import pytest
import torch
from tenacity import wait_none

from mcdist.choices import Verify
from mcdist.data.files import fetch
from mcdist.data.files.cached import CachedFiles, stage
from mcdist.data.loader import make_loader
from mcdist.data.photo_views import read_sound
from mcdist.data.readers.open import open_shards
from mcdist.data.readers.reader import SampleReader
from mcdist.data.readers.webdataset import WebDatasetReader
from mcdist.data.shards.raw_sample import RawSample
from mcdist.data.shards.sample import decode_sample
from mcdist.errors import ConfigError, MachineError, MissingExtraError, ShardError
from tests.fixture_types import MakeShards, MakeViewSettings, MembersOf
from tests.makers.shard_server import ShardServer, serve
from tests.servers import starts_a_server

pytestmark = starts_a_server

GIB = 2**30
RUN: dict[str, Any] = dict(seed=5, global_batch=4, accumulation_steps=1, block=2, num_lanes=2)
RUN |= dict(consumed=0, num_steps=6, rank=0, num_ranks=1, prefetch=2, pin_memory=False)


@pytest.fixture(autouse=True)
def _no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fetch, "WAIT", wait_none())


@pytest.fixture
def local(make_shards: MakeShards) -> Path:
    """Twelve samples in three shards."""
    return make_shards(12)


@pytest.fixture
def server(local: Path) -> Iterator[ShardServer]:
    """These shards on a server."""
    with serve(local) as running:
        yield running


def opened(url: str, cache: Path, *, gib: float = 1.0, verify: Verify = "never", stage_to: str = "") -> SampleReader:
    return open_shards(url, cache_dir=str(cache), cache_gib=gib, stage_to=stage_to, verify=verify)


def content_of(folder: SampleReader) -> list[RawSample]:
    return [folder.read(index, with_segments=True) for index in range(len(folder))]


def assert_same(first: SampleReader, second: SampleReader) -> None:
    for one, other in zip(content_of(first), content_of(second), strict=True):
        assert (one.key, one.photo, one.instances, one.segments) == (other.key, other.photo, other.instances, other.segments)


def test_a_folder_at_a_url_reads_as_the_folder_itself(server: ShardServer, local: Path, tmp_path: Path) -> None:
    remote = opened(server.url, tmp_path / "cache")
    assert_same(remote, WebDatasetReader(local))
    assert_same(remote, WebDatasetReader(local))
    assert remote.read(7).where.startswith(f"{server.url}/shard-0001.tar, sample photo_0007 (png at byte ")
    assert set(server.counts.values()) == {1}, "every file is fetched once"
    assert_same(opened(server.url, tmp_path / "cache"), WebDatasetReader(local))
    assert server.counts["shard-0001.tar"] == 1, "the next process finds what is kept"


@pytest.mark.parametrize("fault", ["drop", "truncate", "garbage", "endless", 500, 503, 429])
def test_a_transfer_that_fails_is_tried_again(server: ShardServer, local: Path, tmp_path: Path, fault: int | str) -> None:
    server.faults = {name: [fault, fault] for name in ("shard-0001.tar", "shard-0001.index.json")}
    if fault not in ("garbage", "endless"):  # the manifest has no checksum
        server.faults["manifest.json"] = [fault]
    assert_same(opened(server.url, tmp_path / "cache"), WebDatasetReader(local))
    assert server.counts["shard-0001.tar"] == 3
    assert sorted(path.suffix for path in (tmp_path / "cache").iterdir()) == [".json"] * 3 + [".lock"] + [".tar"] * 3, "nothing half-fetched stays"


def test_a_server_that_falls_silent_is_not_waited_for(server: ShardServer, local: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = opened(server.url, tmp_path / "cache")
    monkeypatch.setattr(fetch, "SILENCE_TIMEOUT_S", 0.5)
    server.faults["shard-0000.tar"] = ["delay"]
    assert folder.read(0).key == "photo_0000"
    assert server.counts["shard-0000.tar"] == 2


@pytest.mark.parametrize(
    ("fault", "error", "message", "num_tries"),
    [
        (404, ShardError, "the server has no such file; check the address", 1),
        (403, MachineError, "refused at once .*403", 1),
        (500, MachineError, "in 6 tries .*500", 6),
        ("drop", MachineError, "in 6 tries", 6),
        ("garbage", ShardError, r"came with \d+ bytes and another SHA-256", 6),
        ("endless", ShardError, "brings more than the", 6),
    ],
)
def test_what_never_comes_is_one_sentence(server: ShardServer, tmp_path: Path, fault: int | str, error: type[Exception], message: str, num_tries: int) -> None:
    server.faults["shard-0001.tar"] = [fault] * 20
    folder = opened(server.url, tmp_path / "cache")
    assert folder.read(0).key == "photo_0000"
    with pytest.raises(error, match=message) as caught:
        folder.read(5)
    assert f"{server.url}/shard-0001.tar" in str(caught.value)
    assert "\n" not in str(caught.value)
    assert server.counts["shard-0001.tar"] >= num_tries, "aiohttp itself asks again where a connection was dropped"
    assert not list((tmp_path / "cache").glob("*.part")) + list((tmp_path / "cache").glob("*.download"))


def test_a_url_without_shards_is_one_sentence(server: ShardServer, tmp_path: Path) -> None:
    server.folder = tmp_path
    with pytest.raises(ShardError, match=r"expected http://127.0.0.1:\d+/shards/manifest.json, the server has no such file"):
        opened(server.url, tmp_path / "cache")


def _read_all(url: str, cache: str, start: Barrier, keys: "Queue[list[str]]") -> None:
    start.wait()
    folder = open_shards(url, cache_dir=cache)
    keys.put([folder.read(index).key for index in range(len(folder))])


def test_two_processes_that_share_a_cache_fetch_each_shard_once(server: ShardServer, tmp_path: Path) -> None:
    context = multiprocessing.get_context("forkserver")  # with torch imported once, as the loader's workers
    context.set_forkserver_preload(["mcdist.data.loader"])
    start, keys = context.Barrier(2), context.Queue()
    server.delay_s = 0.1
    processes = [context.Process(target=_read_all, args=(server.url, str(tmp_path / "cache"), start, keys)) for _ in range(2)]
    for process in processes:
        process.start()
    assert [keys.get(timeout=60) for _ in processes] == 2 * [[f"photo_{index:04d}" for index in range(12)]]
    for process in processes:
        process.join(timeout=30)
    assert {name: count for name, count in server.counts.items() if name != "manifest.json"} == {
        f"shard-000{place}.{suffix}": 1 for place in range(3) for suffix in ("tar", "index.json")
    }


@pytest.mark.parametrize("verify", ["never", "open"])
def test_a_damaged_copy_is_fetched_again(server: ShardServer, local: Path, tmp_path: Path, verify: Verify) -> None:
    shard = opened(server.url, tmp_path / "cache").manifest.shards[1]
    list(content_of(opened(server.url, tmp_path / "cache")))
    kept = tmp_path / "cache" / f"{shard.sha256}.tar"
    kept.write_bytes(bytes(shard.num_bytes))
    folder = opened(server.url, tmp_path / "cache", verify=verify)
    sample = read_sound(folder, 7, make=decode_sample)
    assert sample.photo.equal(decode_sample(WebDatasetReader(local).read(7)).photo)
    assert server.counts["shard-0001.tar"] == 2


@pytest.mark.parametrize("suffix", ["tar", "json"])
def test_a_copy_of_another_length_is_fetched_again(server: ShardServer, local: Path, tmp_path: Path, suffix: str) -> None:
    assert_same(opened(server.url, tmp_path / "cache"), WebDatasetReader(local))
    for path in (tmp_path / "cache").glob(f"*.{suffix}"):
        path.write_bytes(path.read_bytes()[:100])
    assert_same(opened(server.url, tmp_path / "cache"), WebDatasetReader(local))


def test_a_damaged_copy_of_an_index_is_fetched_again(server: ShardServer, local: Path, tmp_path: Path) -> None:
    assert_same(opened(server.url, tmp_path / "cache"), WebDatasetReader(local))
    for path in (tmp_path / "cache").glob("*.json"):
        path.write_bytes(bytes(path.stat().st_size))
    assert_same(opened(server.url, tmp_path / "cache"), WebDatasetReader(local))


def test_a_sample_that_is_bad_at_its_source_stays_bad(make_shards: MakeShards, members_of: MembersOf, tmp_path: Path) -> None:
    folder = make_shards(5, members_of=lambda index: {**members_of(index), "png": b""} if index == 3 else members_of(index))
    with serve(folder) as server:
        remote = opened(server.url, tmp_path / "cache")
        with pytest.raises(ShardError, match="photo_0003.*the photo is empty"):
            read_sound(remote, 3, make=decode_sample)
        assert server.counts["shard-0000.tar"] == 1


def test_a_shard_larger_than_the_cache_is_a_matter_of_settings(server: ShardServer, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"does not fit into data.cache_gib=1.86e-05; raise it"):
        opened(server.url, tmp_path / "cache", gib=20_000 / GIB).read(0)


def test_a_full_disk_while_fetching_is_told(tmp_path: Path, local: Path, server: ShardServer, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = opened(server.url, tmp_path / "cache")

    class Full:
        def get_file(self, path: str, to: str, **options: object) -> None:
            raise OSError(28, "No space left on device")

    monkeypatch.setattr(fetch, "url_to_fs", lambda url, **options: (Full(), url))
    with pytest.raises(MachineError, match=r"no space left to keep http.*shard-0000.index.json; lower data.cache_gib"):
        folder.read(0)


@pytest.mark.parametrize("num_workers", [0, 2])
def test_training_reads_a_url_as_it_reads_the_folder(
    server: ShardServer, local: Path, tmp_path: Path, view_settings: MakeViewSettings, num_workers: int
) -> None:
    wanted = list(make_loader(WebDatasetReader(local), views=view_settings(), num_workers=0, **RUN))
    found = list(make_loader(opened(server.url, tmp_path / "cache"), views=view_settings(), num_workers=num_workers, **RUN))
    for first, second in zip(wanted, found, strict=True):
        assert first.indices.equal(second.indices) and torch.equal(first.query_images, second.query_images)
    assert max(count for name, count in server.counts.items() if name != "manifest.json") == 1
    assert not [thread for thread in threading.enumerate() if thread.name == "fetch-ahead"]


def test_a_network_that_fails_is_never_skipped_as_a_bad_sample(server: ShardServer, tmp_path: Path, view_settings: MakeViewSettings) -> None:
    server.faults["shard-0001.tar"] = [500] * 100
    with pytest.raises(MachineError, match=r"cannot fetch .*shard-0001.tar, in 6 tries"):
        list(make_loader(opened(server.url, tmp_path / "cache"), views=view_settings(), num_workers=0, bad_samples="skip", **RUN))


def test_staging_copies_every_shard_once_and_reads_it_there(local: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NODE_DISK", str(tmp_path / "node"))
    folder = opened(str(local), tmp_path / "unused", stage_to="$NODE_DISK/shards")
    assert isinstance(folder.files, CachedFiles)
    for part in range(2):
        stage(folder.files, manifest=folder.manifest, part=part, num_parts=2)
    assert len(list((tmp_path / "node" / "shards").glob("*.tar"))) == 3
    manifest = (local / "manifest.json").read_bytes()
    for path in local.iterdir():
        path.unlink()
    assert folder.read(11).key == "photo_0011"
    assert not (tmp_path / "unused").exists()
    (local / "manifest.json").write_bytes(manifest)
    assert len(opened(str(local), tmp_path / "unused", stage_to="$NODE_DISK/shards").read(3).photo) > 0


def test_staging_wants_room_on_the_disk(local: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = opened(str(local), tmp_path, stage_to=str(tmp_path / "node"))
    assert isinstance(folder.files, CachedFiles)
    monkeypatch.setattr("shutil.disk_usage", lambda path: os.statvfs(path) and type("Usage", (), {"free": 1000}))
    with pytest.raises(MachineError, match=r"staging needs .* GiB in .*node, .* GiB are free"):
        stage(folder.files, manifest=folder.manifest, part=0, num_parts=1)


def test_a_shard_that_is_damaged_at_its_source_is_not_staged(local: Path, tmp_path: Path) -> None:
    path = local / "shard-0002.tar"
    path.write_bytes(bytes(path.stat().st_size))
    folder = opened(str(local), tmp_path, stage_to=str(tmp_path / "node"))
    assert isinstance(folder.files, CachedFiles)
    with pytest.raises(ShardError, match="shard-0002.tar came with .* another SHA-256"):
        stage(folder.files, manifest=folder.manifest, part=0, num_parts=1)


def test_verifying_finds_what_a_decoder_would_not(local: Path) -> None:
    path = local / "shard-0001.tar"
    content = bytearray(path.read_bytes())
    content[-1] ^= 1  # the tar's padding: no sample has it
    path.write_bytes(content)
    quiet = open_shards(local)
    assert quiet.read(7).key == "photo_0007"
    checking = open_shards(local, verify="open")
    assert checking.read(0).key == "photo_0000"
    with pytest.raises(ShardError, match=r"shard-0001.tar has another SHA-256 than its manifest says"):
        checking.read(7)


@pytest.mark.parametrize(("protocol", "package", "extra"), [("s3", "s3fs", "s3"), ("gs", "gcsfs", "gcs"), ("https", "aiohttp", "remote")])
def test_a_missing_package_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, protocol: str, package: str, extra: str) -> None:
    def missing(url: str, **options: object) -> None:
        raise ImportError(f"Install {package}")

    monkeypatch.setattr(fetch, "url_to_fs", missing)
    with pytest.raises(MissingExtraError, match=rf"shards at {protocol}:// need a package that is not installed: pip install 'mcdist\[{extra}\]'"):
        opened(f"{protocol}://bucket/shards", tmp_path)


def test_an_unknown_protocol_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"cannot read nosuch://host/shards/manifest.json: .*; use a path, or a URL with http"):
        opened("nosuch://host/shards", tmp_path)
