"""A run gives the same bits whether freed memory is kept or not. Each run is a process of its own: malloc cannot be set back."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from mcdist.machine.allocator import VARIABLE, find_allocator
from mcdist.report.jsonl import read_metrics
from mcdist.run_dir import RunDir, list_checkpoints

TIMES = ("images_per_s", "step_time_s", "data_wait_percent", "memory_resident_gib", "page_faults_per_step")
RUN = """
import sys
from pathlib import Path
from mcdist.config.file import load_config
from mcdist.run import train_run
sys.exit(train_run(load_config(Path("configs/demo_contrast.yaml"), overrides=sys.argv[1:])))
"""
SETTINGS = [
    *("run.device=cpu", "run.num_threads=1", "data.block=4", "data.num_lanes=4", "data.num_workers=1", "views.size_px=32", "views.max_objects=2"),
    *("model.weights=none", "model.num_stages=3", "model.trainable_from=0", "model.bank_size=16", "optim.global_batch=4", "optim.epochs=2"),
    *("report.mlflow=off", "report.log_every_steps=2", "report.console=off"),
]


def trained(choice: str, *, folder: Path, shards: Path) -> RunDir:
    """Six steps of a small run, in a new process."""
    environment = {name: value for name, value in os.environ.items() if name != VARIABLE}
    places = [f"run.allocator={choice}", f"run.dir={folder}", f"data.train={shards}"]
    done = subprocess.run([sys.executable, "-c", RUN, *SETTINGS, *places], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    return RunDir(folder)


def state_of(run_dir: RunDir) -> dict[str, torch.Tensor]:
    return load_file(list_checkpoints(run_dir.checkpoints)[-1] / "state.safetensors")


@pytest.mark.skipif(not find_allocator({}).keeps, reason="only glibc's malloc is set")
def test_six_steps_end_bit_equal_with_and_without(tmp_path: Path, make_shards: Callable[..., Path]) -> None:
    shards = make_shards(12)
    kept, system = (trained(choice, folder=tmp_path / choice, shards=shards) for choice in ("auto", "system"))
    want, got = state_of(system), state_of(kept)
    assert want.keys() == got.keys()
    assert not [name for name in want if not torch.equal(want[name], got[name])]
    results = [[record for record in read_metrics(run_dir.metrics) if record.name not in TIMES] for run_dir in (kept, system)]
    assert results[0] == results[1]
    assert {record.step for record in results[0]} == {2, 4, 6}
    assert sum(record.name == "page_faults_per_step" for run_dir in (kept, system) for record in read_metrics(run_dir.metrics)) == 6
