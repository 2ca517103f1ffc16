"""The real trainer, in real processes: 3 ranks x 2 workers stopped within an epoch, continued on 2 ranks x 1 worker, see what one rank would have seen."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from mcdist.data.order import micro_batches
from mcdist.disk.checkpoint import load_checkpoint
from mcdist.run_dir import RunDir, list_checkpoints
from tests.fixture_types import MakeShards
from tests.makers.many_ranks import free_port

NUM_SAMPLES, GLOBAL_BATCH, NUM_LANES, BLOCK, EPOCHS, STOP_AFTER = 30, 12, 6, 2, 2, 2
NUM_STEPS = EPOCHS * NUM_SAMPLES // GLOBAL_BATCH
CONFIG = f"""
data: {{num_workers: 2, prefetch: 2, block: {BLOCK}, num_lanes: {NUM_LANES}}}
views: {{size_px: 16, max_objects: 2}}
model: {{backbone: resnet18, num_stages: 3, norm: group, decoder: linear, embedding_dim: 4, bank_size: 8}}
optim: {{global_batch: {GLOBAL_BATCH}, epochs: {EPOCHS}}}
run: {{device: cpu, num_threads: 1, seed: 3}}
checkpoint: {{every_steps: 100}}
report: {{mlflow: "off", log_every_steps: 10, console: "off"}}
"""


def _train(folder: Path, *overrides: str, name: str, ranks: int, stop_after: int) -> list[list[int]]:
    """The global batches of a start, put together from what each rank saw."""
    launcher = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", str(ranks), "--master-port", str(free_port())]
    script = [str(Path(__file__).parents[1] / "makers" / "watched_train.py"), str(folder / name), str(stop_after), str(folder / "config.yaml")]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run([*launcher, *script, *overrides], capture_output=True, text=True, timeout=300, env=environment, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    seen = [[json.loads(line) for line in (folder / f"{name}.{rank}").read_text().splitlines()] for rank in range(ranks)]
    batches = []
    for parts in zip(*seen, strict=True):
        batch = [0] * GLOBAL_BATCH
        for rank, part in enumerate(parts):
            batch[rank::ranks] = part
        batches.append(batch)
    return batches


@pytest.mark.slow
def test_a_run_stopped_within_an_epoch_goes_on_with_other_ranks_and_workers_and_misses_no_sample(tmp_path: Path, make_shards: MakeShards) -> None:
    (tmp_path / "config.yaml").write_text(CONFIG)
    place = (f"data.train={make_shards(NUM_SAMPLES)}", f"run.dir={tmp_path / 'run'}")
    before = _train(tmp_path, *place, name="before", ranks=3, stop_after=STOP_AFTER)
    assert len(before) == STOP_AFTER, "the stop lies within the first epoch"
    rest = _train(tmp_path, *place, "data.num_workers=1", name="rest", ranks=2, stop_after=100)

    run = dict(seed=3, num_samples=NUM_SAMPLES, block=BLOCK, num_lanes=NUM_LANES, global_batch=GLOBAL_BATCH, accumulation_steps=1)
    alone = micro_batches(**run, rank=0, num_ranks=1, consumed=0, num_steps=NUM_STEPS)
    assert before + rest == [[request.index for request in batch] for batch in alone]
    shown = [index for batch in before + rest for index in batch]
    for epoch in range(EPOCHS):
        assert sorted(shown[epoch * NUM_SAMPLES : (epoch + 1) * NUM_SAMPLES]) == list(range(NUM_SAMPLES))
    newest = load_checkpoint(list_checkpoints(RunDir(tmp_path / "run").checkpoints)[-1])
    assert newest.numbers["samples_consumed"] == NUM_STEPS * GLOBAL_BATCH == EPOCHS * NUM_SAMPLES
