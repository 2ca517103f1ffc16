"""A run that is killed again and again, at moments drawn by chance, ends bit-equal to one left alone and shows each sample once an epoch."""

import json
import multiprocessing
import random
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest
from safetensors.torch import load_file

from mcdist import build, run
from mcdist.config.file import load_config
from mcdist.data.batch import Batch
from mcdist.report.jsonl import read_metrics
from mcdist.resilience.attempts import list_attempts
from mcdist.run_dir import RunDir, list_checkpoints
from tests.fixture_types import MakeShards

NUM_SAMPLES, GLOBAL_BATCH, EPOCHS, NUM_KILLS = 20, 4, 4, 4
NUM_STEPS = EPOCHS * NUM_SAMPLES // GLOBAL_BATCH
CONFIG = f"""
data: {{num_workers: 1, block: 2, num_lanes: 4}}
views: {{size_px: 16, max_objects: 2}}
model: {{backbone: resnet18, num_stages: 3, decoder: linear, embedding_dim: 4, bank_size: 8}}
optim: {{global_batch: {GLOBAL_BATCH}, epochs: {EPOCHS}, lr: 0.05}}
run: {{device: cpu, num_threads: 1, deterministic: true}}
checkpoint: {{every_steps: 2, keep: 2}}
report: {{mlflow: "off", log_every_steps: 1, console: "off"}}
"""
DEADLINE_S = 240


class SeenLoader:
    """Passes the loader's batches on and writes which samples each step is given."""

    def __init__(self, loader: Any, *, first_step: int, path: Path) -> None:
        self.loader, self.first_step, self.path = loader, first_step, path

    def __iter__(self) -> Iterator[Batch]:
        with self.path.open("a") as file:
            for step, batch in enumerate(self.loader, start=self.first_step):
                file.write(json.dumps([step, batch.indices.tolist()]) + "\n")
                file.flush()
                yield batch


def _train(config: Path, overrides: list[str], seen: Path) -> None:
    make = build.build_batches

    def watched(*arguments: Any, consumed: int, **options: Any) -> SeenLoader:
        return SeenLoader(make(*arguments, consumed=consumed, **options), first_step=consumed // GLOBAL_BATCH + 1, path=seen)

    with patch.object(build, "build_batches", watched):
        assert run.train_run(load_config(config, overrides=overrides)) == 0


def _num_lines(path: Path) -> int:
    return path.read_text().count("\n") if path.exists() else 0


@pytest.fixture
def start(tmp_path: Path, make_shards: MakeShards) -> Callable[..., multiprocessing.process.BaseProcess]:
    """Starts the run in folder `name`, in a process of its own that writes what it sees to `name`.jsonl."""
    (tmp_path / "config.yaml").write_text(CONFIG)
    shards = make_shards(NUM_SAMPLES)

    def begin(name: str) -> multiprocessing.process.BaseProcess:
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload(["torch", "mcdist.run"])
        given = [f"data.train={shards}", f"run.dir={tmp_path / name}"]
        process = context.Process(target=_train, args=(tmp_path / "config.yaml", given, tmp_path / f"{name}.jsonl"))
        process.start()
        return process

    return begin


def _end(process: multiprocessing.process.BaseProcess) -> None:
    process.join(timeout=DEADLINE_S)
    code = process.exitcode
    process.kill()
    process.join()
    assert code == 0


@pytest.mark.slow
def test_a_run_killed_at_random_moments_loses_no_step_and_no_sample(start: Callable[..., multiprocessing.process.BaseProcess], tmp_path: Path) -> None:
    _end(start("alone"))
    chance, seen = random.Random(0), tmp_path / "killed.jsonl"
    for _ in range(NUM_KILLS):
        process, wanted = start("killed"), _num_lines(seen) + chance.randrange(1, 6)
        try:
            ends_s = time.monotonic() + DEADLINE_S
            while _num_lines(seen) < wanted and process.is_alive():
                assert time.monotonic() < ends_s, "no step came"
                time.sleep(0.002)
            time.sleep(chance.uniform(0, 0.05))
        finally:
            process.kill()
            process.join()
    _end(start("killed"))

    shown: dict[int, list[int]] = {}
    for step, indices in map(json.loads, seen.read_text().splitlines()):
        assert shown.setdefault(step, indices) == indices, f"step {step} was given other samples when it was taken again"
    assert sorted(shown) == list(range(1, NUM_STEPS + 1))
    order = [index for step in sorted(shown) for index in shown[step]]
    for epoch in range(EPOCHS):
        assert sorted(order[epoch * NUM_SAMPLES : (epoch + 1) * NUM_SAMPLES]) == list(range(NUM_SAMPLES))

    alone, killed = RunDir(tmp_path / "alone"), RunDir(tmp_path / "killed")
    want, got = (load_file(list_checkpoints(folder.checkpoints)[-1] / "state.safetensors") for folder in (alone, killed))
    assert want.keys() == got.keys()
    assert not [name for name in want if not want[name].equal(got[name])]
    curves = [[(record.step, record.value) for record in read_metrics(folder.metrics) if record.name == "loss"] for folder in (alone, killed)]
    assert curves[0] == curves[1], "each step once, with the same loss"
    attempts = list_attempts(killed.attempts)
    assert attempts[-1].exit_code == 0
    assert [attempt.number for attempt in attempts] == list(range(1, NUM_KILLS + 2))
