"""A compiled run computes what an eager one does. Slow: the compiler needs about a minute on two cores."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from mcdist.report.jsonl import read_metrics
from mcdist.run_dir import RunDir

CONFIG = """
data: {num_workers: 0, block: 4, num_lanes: 4}
views: {size_px: 32, max_objects: 2}
model: {backbone: resnet18, num_stages: 3, norm: group, decoder: linear, embedding_dim: 8, bank_size: 16}
optim: {global_batch: 4, epochs: 1, lr: 0.05}
run: {device: cpu, num_threads: 2}
report: {mlflow: off, log_every_steps: 1}
"""


@pytest.mark.slow
def test_a_compiled_run_follows_the_eager_one(tmp_path: Path, make_shards: Callable[..., Path]) -> None:
    (tmp_path / "config.yaml").write_text(CONFIG)
    shards = make_shards(12)
    losses = {}
    for compiled in ("false", "true"):
        folder = tmp_path / compiled
        command = [
            sys.executable,
            "-m",
            "mcdist",
            "train",
            str(tmp_path / "config.yaml"),
            f"data.train={shards}",
            f"run.dir={folder}",
            f"optim.compile={compiled}",
        ]
        done = subprocess.run(command, capture_output=True, text=True, timeout=500, env={**os.environ, "OMP_NUM_THREADS": "2"}, check=False)
        assert done.returncode == 0, done.stderr[-3000:]
        losses[compiled] = [record.value for record in read_metrics(RunDir(folder).metrics) if record.name == "loss"]
    assert losses["true"] == pytest.approx(losses["false"], rel=1e-3)
