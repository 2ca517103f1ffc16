import multiprocessing
import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from mcdist.data.batch import Batch
from mcdist.data.loader import BatchLoader, _raising, make_loader, read_sample
from mcdist.data.order import micro_batches
from mcdist.data.readers.webdataset import WebDatasetReader
from mcdist.errors import ConfigError, MachineError, ShardError
from tests.fixture_types import MakeShards, MakeViewSettings, MembersOf, RelistShard, ShardsAt

RUN = dict(seed=5, global_batch=8, accumulation_steps=2, block=3, num_lanes=4, consumed=0, num_steps=5)
ALONE = dict(rank=0, num_ranks=1, num_workers=0, prefetch=2, pin_memory=False)


@pytest.fixture(scope="module")
def folder(shards_at: ShardsAt, tmp_path_factory) -> WebDatasetReader:
    """23 samples that no test changes."""
    return WebDatasetReader(shards_at(tmp_path_factory.mktemp("tiny") / "shards", 23))


def loader_of(folder: WebDatasetReader, view_settings: MakeViewSettings, **changes) -> BatchLoader:
    return make_loader(folder, views=view_settings(), **{**RUN, **ALONE, **changes})


def assert_same(first: Batch, second: Batch) -> None:
    for name in ("indices", "query_images", "key_images", "query_instances", "key_instances"):
        assert torch.equal(getattr(first, name), getattr(second, name)), name
    assert (first.num_redrawn, first.num_emptied, first.num_dropped_objects) == (second.num_redrawn, second.num_emptied, second.num_dropped_objects)


def by_place(loader: BatchLoader, *, rank: int, num_ranks: int) -> dict[tuple[int, int], tuple[int, torch.Tensor, torch.Tensor]]:
    """(step, place in the global batch) -> what was seen there."""
    seen, steps = {}, RUN["accumulation_steps"]
    for count, batch in enumerate(loader):
        for row in range(len(batch.indices)):
            place = ((count % steps) * len(batch.indices) + row) * num_ranks + rank
            seen[count // steps, place] = (int(batch.indices[row]), batch.query_images[row], batch.key_instances[row])
    return seen


def test_batches_come_in_the_order_of_the_run(folder, view_settings: MakeViewSettings):
    loader = loader_of(folder, view_settings)
    wanted = micro_batches(num_samples=23, rank=0, num_ranks=1, **RUN)
    assert len(loader) == 10
    assert [batch.indices.tolist() for batch in loader] == [[request.index for request in part] for part in wanted]


@pytest.mark.filterwarnings("ignore:This DataLoader will create 3 worker processes:UserWarning")  # torch's advice where there are fewer cores
@pytest.mark.parametrize("num_workers", [1, 3])
def test_workers_do_not_change_what_is_seen(folder, view_settings: MakeViewSettings, num_workers):
    alone = list(loader_of(folder, view_settings))
    for first, second in zip(alone, loader_of(folder, view_settings, num_workers=num_workers), strict=True):
        assert_same(first, second)


def test_ranks_do_not_change_what_is_seen(folder, view_settings: MakeViewSettings):
    alone = by_place(loader_of(folder, view_settings), rank=0, num_ranks=1)
    shared: dict = {}
    for rank in (0, 1):
        shared |= by_place(loader_of(folder, view_settings, rank=rank, num_ranks=2), rank=rank, num_ranks=2)
    assert shared.keys() == alone.keys()
    for place, (index, image, instances) in alone.items():
        assert shared[place][0] == index
        assert torch.equal(shared[place][1], image)
        assert torch.equal(shared[place][2], instances)


def test_a_loader_started_later_gives_the_rest(folder, view_settings: MakeViewSettings):
    whole = list(loader_of(folder, view_settings))
    rest = list(loader_of(folder, view_settings, consumed=3 * 8, num_steps=2))
    for first, second in zip(whole[6:], rest, strict=True):
        assert_same(first, second)


@pytest.mark.filterwarnings("ignore:This DataLoader will create:UserWarning")
def test_three_ranks_of_two_workers_stop_and_two_ranks_of_one_worker_see_the_rest(folder, view_settings: MakeViewSettings):
    """The loader's side of tests/runs/test_order_end_to_end.py, within the first epoch of 23 and into the second."""
    run = dict(global_batch=6, num_lanes=6, block=2, accumulation_steps=1)

    def global_batches(*, num_ranks, num_workers, consumed, num_steps):
        loaders = [
            loader_of(folder, view_settings, **run, rank=rank, num_ranks=num_ranks, num_workers=num_workers, consumed=consumed, num_steps=num_steps)
            for rank in range(num_ranks)
        ]
        steps = [[batch.indices.tolist() for batch in loader] for loader in loaders]
        return [[parts[place % num_ranks][place // num_ranks] for place in range(6)] for parts in zip(*steps, strict=True)]

    before = global_batches(num_ranks=3, num_workers=2, consumed=0, num_steps=2)
    rest = global_batches(num_ranks=2, num_workers=1, consumed=12, num_steps=6)
    assert before + rest == global_batches(num_ranks=1, num_workers=0, consumed=0, num_steps=8)
    shown = [index for batch in before + rest for index in batch]
    assert sorted(shown[:23]) == sorted(shown[23:46]) == list(range(23))


def test_the_next_epoch_draws_other_views(folder, view_settings: MakeViewSettings):
    batches = loader_of(folder, view_settings, num_steps=6, accumulation_steps=1)
    seen = [(int(index), image) for batch in batches for index, image in zip(batch.indices, batch.query_images, strict=True)]
    first = dict(seen[:23])
    assert all(not torch.equal(first[index], image) for index, image in seen[23:46])


def test_loading_leaves_the_random_numbers_of_the_run_alone(folder, view_settings: MakeViewSettings):
    state = torch.get_rng_state()
    list(loader_of(folder, view_settings))
    assert torch.equal(torch.get_rng_state(), state)


def test_training_never_reads_ground_truth(folder, view_settings: MakeViewSettings, monkeypatch):
    read = os.pread
    truths = {sample.members["seg.png"] for place in range(len(folder.manifest.shards)) for sample in folder.read_index(place)}
    extents: list[tuple[int, int]] = []

    def noted(file, size, offset):
        extents.append((offset, size))
        return read(file, size, offset)

    monkeypatch.setattr(os, "pread", noted)
    list(loader_of(folder, view_settings))
    assert extents
    assert not truths & set(extents)


@pytest.fixture
def cut(make_shards: MakeShards, relist_shard: RelistShard) -> WebDatasetReader:
    """23 samples, where the tar was cut inside the map of sample 7."""
    folder = make_shards(23)
    shard = WebDatasetReader(folder).manifest.shards[1]

    def moved(samples):
        return [
            replace(entry, members={**entry.members, "mask.png": (shard.num_bytes - 100, 100)}) if entry.key == "photo_0007" else entry for entry in samples
        ]

    relist_shard(folder, place=1, change=moved)
    os.truncate(folder / shard.name, shard.num_bytes - 96)
    return WebDatasetReader(folder)


def data_workers() -> list[multiprocessing.process.BaseProcess]:
    """Those of this process's children that are data workers: they are daemons; other tests keep a process of their own."""
    return [child for child in multiprocessing.active_children() if child.daemon]


@pytest.mark.parametrize("num_workers", [0, 2])
def test_an_error_in_a_worker_arrives_as_its_one_sentence(cut, view_settings: MakeViewSettings, num_workers):
    with pytest.raises(ShardError, match=r"photo_0007 \(png at byte \d+, mask.png at byte \d+\): mask.png should be 100 bytes, the tar ends after 4") as caught:
        list(loader_of(cut, view_settings, num_workers=num_workers))
    assert type(caught.value) is ShardError
    assert "\n" not in str(caught.value)
    assert not data_workers()


def test_a_dead_worker_is_told_with_what_to_do():
    def batches():
        raise RuntimeError("DataLoader worker (pid(s) 12) exited unexpectedly\nmore")
        yield

    with pytest.raises(MachineError, match=r"a data worker process died \(DataLoader worker \(pid\(s\) 12\) exited unexpectedly\).*lower data.num_workers"):
        list(_raising(batches()))


def test_another_error_of_torch_stays_what_it_is():
    def batches():
        raise RuntimeError("out of memory")
        yield

    with pytest.raises(RuntimeError, match="^out of memory$"):
        list(_raising(batches()))


def test_workers_leave_interrupts_and_notices_to_the_main_process(folder, view_settings: MakeViewSettings):
    batches = iter(loader_of(folder, view_settings, num_workers=2))
    seen = [next(batches), next(batches)]  # one of each worker: both have started
    workers = data_workers()
    assert len(workers) == 2
    for worker in workers:
        for notice in (signal.SIGINT, signal.SIGUSR1, signal.SIGUSR2):
            assert worker.pid is not None
            os.kill(worker.pid, notice)
    assert len(seen + list(batches)) == 10


def test_closing_a_pass_ends_its_workers(folder, view_settings: MakeViewSettings):
    batches = iter(loader_of(folder, view_settings, num_workers=2))
    next(batches)
    assert data_workers()
    batches.close()
    assert not data_workers()


def test_ranks_that_do_not_fit_are_refused_before_any_worker_starts(folder, view_settings: MakeViewSettings):
    with pytest.raises(ConfigError, match="3 ranks cannot share 4 lanes"):
        loader_of(folder, view_settings, num_ranks=3)


def test_evaluation_gives_photos_with_ground_truth_in_index_order(folder):
    samples = [read_sample(folder, index, with_segments=True) for index in range(23)]
    assert [sample.key for sample in samples] == [folder.key(index) for index in range(23)]
    for sample in samples:
        assert sample.segments is not None and torch.equal(sample.segments.to(torch.int16), sample.instances)
    assert read_sample(folder, 4).segments is None


def test_evaluation_wants_ground_truth(make_shards: MakeShards, members_of: MembersOf):
    without: Path = make_shards(2, members_of=lambda index: {name: content for name, content in members_of(index).items() if name != "seg.png"})
    with pytest.raises(ShardError, match="evaluation needs the ground truth seg.png"):
        read_sample(WebDatasetReader(without), 0, with_segments=True)


def test_what_data_workers_import_brings_no_compiler():
    code = "import sys, mcdist.data.loader; print([name for name in ('torchvision', 'torch._inductor') if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=300)
    assert done.stdout.strip() == "[]", done.stdout + done.stderr
