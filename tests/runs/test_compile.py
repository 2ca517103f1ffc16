"""A compiled run computes what an eager one does. Slow: the compiler needs about a minute on two cores."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from mcdist.report.jsonl import read_metrics
from mcdist.run_dir import RunDir
from tests.fixture_types import MakeShards

CONFIG = """
data: {num_workers: 0, block: 4, num_lanes: 4}
views: {size_px: 32, max_objects: 2}
model: {backbone: resnet18, num_stages: 3, norm: group, decoder: linear, embedding_dim: 8, bank_size: 16}
optim: {global_batch: 4, epochs: 1, lr: 0.05}
run: {device: cpu, num_threads: 2}
report: {mlflow: off, log_every_steps: 1}
"""


@pytest.mark.slow
def test_compiled_runs_follow_the_eager_one_in_every_mode(tmp_path: Path, make_shards: MakeShards) -> None:
    (tmp_path / "config.yaml").write_text(CONFIG)
    shards = make_shards(12)
    losses = {}
    ways = {
        "eager": [],
        "default": ["optim.compile=true"],
        "graphs": ["optim.compile=true", "optim.compile_mode=reduce-overhead", "optim.accumulation_steps=2"],
    }
    for way, overrides in ways.items():
        folder = tmp_path / way
        command = [
            sys.executable,
            "-m",
            "mcdist",
            "train",
            str(tmp_path / "config.yaml"),
            f"data.train={shards}",
            f"run.dir={folder}",
            *overrides,
        ]
        done = subprocess.run(command, capture_output=True, text=True, timeout=500, env={**os.environ, "OMP_NUM_THREADS": "2"}, check=False)
        assert done.returncode == 0, done.stderr[-3000:]
        losses[way] = [record.value for record in read_metrics(RunDir(folder).metrics) if record.name == "loss"]
    assert losses["default"] == pytest.approx(losses["eager"], rel=1e-3)
    assert losses["graphs"] == pytest.approx(losses["eager"], rel=1e-3)
