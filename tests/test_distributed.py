"""Two ranks under torchrun compute what one rank does, and stop and continue together. Real processes, gloo."""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from mcdist.config.file import load_config
from mcdist.distributed import World
from mcdist.ranks.join import join_world
from mcdist.report.bad_samples import read_bad_samples
from mcdist.report.jsonl import read_metrics
from mcdist.run import train_run
from mcdist.run_dir import RunDir, list_checkpoints
from tests.fixture_types import MakeShards, MembersOf, ShardsAt
from tests.makers.many_ranks import free_port

CONFIG = """
data: {num_workers: 0, block: 4, num_lanes: 4}
views: {size_px: 32, max_objects: 2}
model: {backbone: resnet18, num_stages: 3, norm: group, decoder: linear, embedding_dim: 8, bank_size: 16, momentum: 0.9}
optim: {global_batch: 4, epochs: 2, lr: 0.05, clip_grad_norm: 5.0}
run: {device: cpu, deterministic: true, num_threads: 1}
checkpoint: {every_steps: 100}
report: {mlflow: "off", log_every_steps: 1}
"""


@pytest.fixture(autouse=True)
def _restore_determinism() -> Iterator[None]:
    yield
    torch.use_deterministic_algorithms(False)


@pytest.fixture
def train(tmp_path: Path, make_shards: MakeShards) -> Callable[..., dict[str, list[float]]]:
    """Train on `ranks` processes under torchrun, or in this one; gives the curves by name."""
    config = tmp_path / "config.yaml"
    config.write_text(CONFIG)
    shards = make_shards(12)

    def run(*overrides: str, ranks: int) -> dict[str, list[float]]:
        folder = tmp_path / f"ranks_{ranks}_{len(overrides)}"
        place = [] if any(override.startswith("data.train=") for override in overrides) else [f"data.train={shards}"]
        given = [*place, f"run.dir={folder}", *overrides]
        if ranks == 1:
            assert train_run(load_config(config, overrides=given)) == 0
        else:
            launcher = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", str(ranks), "--master-port", str(free_port())]
            command = [*launcher, "-m", "mcdist", "train", str(config), *given]
            done = subprocess.run(command, capture_output=True, text=True, timeout=300, env={**os.environ, "OMP_NUM_THREADS": "1"}, check=False)
            assert done.returncode == 0, done.stderr[-3000:]
        curves: dict[str, list[float]] = {}
        for record in read_metrics(RunDir(folder).metrics):
            curves.setdefault(record.name, []).append(record.value)
        curves["weights"] = _weights(folder)
        return curves

    return run


def _weights(folder: Path) -> list[float]:
    tensors = load_file(list_checkpoints(RunDir(folder).checkpoints)[-1] / "state.safetensors")
    return torch.cat([tensor.flatten().double() for name, tensor in sorted(tensors.items()) if name.startswith(("query/", "key/", "bank/rows"))]).tolist()


def test_two_ranks_with_accumulation_compute_what_one_rank_does(train: Callable[..., dict[str, list[float]]]) -> None:
    one, two = train(ranks=1), train("optim.accumulation_steps=2", ranks=2)
    for name in ("loss/contrast", "loss/saliency", "accuracy_percent", "grad_norm", "count/emptied", "count/redrawn"):
        assert two[name] == pytest.approx(one[name], rel=2e-3, abs=1e-5), name
    torch.testing.assert_close(torch.tensor(two["weights"]), torch.tensor(one["weights"]), rtol=1e-3, atol=1e-4)


@pytest.mark.slow
def test_bad_samples_of_every_rank_are_counted_and_listed(
    train: Callable[..., dict[str, list[float]]], shards_at: ShardsAt, members_of: MembersOf, tmp_path: Path
) -> None:
    bad = [2, 3, 4, 9, 10]
    shards = shards_at(tmp_path / "bad", 12, members_of=lambda index: {**members_of(index), "png": b""} if index in bad else members_of(index))
    curves = train(f"data.train={shards}", "data.bad_samples=skip", "data.bad_samples_max_share=0.5", ranks=2)
    assert curves["count/bad_samples"][-1] == 2 * len(bad)
    listed = read_bad_samples(RunDir(tmp_path / "ranks_2_3").bad_samples)
    assert sorted((line["epoch"], line["index"]) for line in listed) == [(epoch, index) for epoch in (0, 1) for index in bad]


def test_a_world_of_one_needs_no_process_group(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT"):
        monkeypatch.delenv(name, raising=False)
    world = join_world(device="cpu", timeout_s=1)
    assert world == World(0, 1, torch.device("cpu"), num_cores=world.num_cores)
    assert world.num_cores >= 1
    rows = torch.ones(2, 3)
    assert world.gather_rows(rows) == (rows,)
    assert not world.begin_any(False)()
    assert world.begin_any(True)()
    assert world.sum(rows) is rows
    assert world.gather_texts(["text"]) == ["text"]
    world.barrier()
