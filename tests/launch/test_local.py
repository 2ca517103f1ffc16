"""The same job as local processes: a signal to the launcher reaches the ranks, which save; a notice starts them again, as SLURM would."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from mcdist.report.jsonl import read_metrics
from tests.fixture_types import MakeShards

ROOT = Path(__file__).resolve().parent.parent.parent
TIMEOUT_S = 200
CONFIG = """
data: {num_workers: 0, block: 2, num_lanes: 4}
views: {size_px: 16, max_objects: 2}
model: {backbone: resnet18, num_stages: 3, norm: group, decoder: linear, embedding_dim: 4, bank_size: 8}
optim: {global_batch: 8, epochs: 100000}
run: {device: cpu, num_threads: 1, dir: run}
report: {mlflow: "off", console: "off", log_every_steps: 1}
"""


@pytest.fixture
def job(tmp_path: Path, make_shards: MakeShards) -> Iterator["subprocess.Popen[str]"]:
    """A training on two local ranks that would take for ever."""
    (tmp_path / "config.yaml").write_text(CONFIG)
    command = [sys.executable, str(ROOT / "launch" / "slurm.py"), "--cluster", "local", "--nodes", "2", "config.yaml", f"data.train={make_shards(16)}"]
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("SLURM", "MCDIST"))} | {"OMP_NUM_THREADS": "1"}
    with (tmp_path / "output").open("w") as output:
        process = subprocess.Popen(command, cwd=tmp_path, env=environment, stdin=subprocess.DEVNULL, stdout=output, stderr=output, text=True)
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def _wait_for(is_so: Callable[[], bool], *, job: "subprocess.Popen[str]", folder: Path) -> None:
    until_s = time.monotonic() + TIMEOUT_S
    while not is_so():
        assert job.poll() is None, f"it ended with {job.returncode}\n{(folder / 'output').read_text()}"
        assert time.monotonic() < until_s, (folder / "output").read_text()
        time.sleep(0.05)


def _step(folder: Path) -> int:
    """The last step that was written down; 0 before the first."""
    records = read_metrics(folder / "run" / "metrics.jsonl")
    return records[-1].step if records else 0


@pytest.mark.slow
def test_a_notice_starts_the_ranks_again_and_ctrl_c_ends_them_saved(job: "subprocess.Popen[str]", tmp_path: Path) -> None:
    checkpoints = tmp_path / "run" / "checkpoints"
    _wait_for(lambda: _step(tmp_path) > 0, job=job, folder=tmp_path)
    job.send_signal(signal.SIGUSR2)
    _wait_for(lambda: (tmp_path / "run" / "attempts" / "000002").is_dir(), job=job, folder=tmp_path)
    first = sorted(checkpoints.glob("step_*"))[-1]
    _wait_for(lambda: _step(tmp_path) > int(first.name.removeprefix("step_")), job=job, folder=tmp_path)
    job.send_signal(signal.SIGINT)
    assert job.wait(timeout=TIMEOUT_S) == 130, (tmp_path / "output").read_text()
    assert sorted(checkpoints.glob("step_*"))[-1] > first
    assert "saved and asks to go on" in (tmp_path / "output").read_text()
