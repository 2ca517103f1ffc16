"""Two ranks, one of which dies or hangs: the other leaves with exit code 7 and one line, and the same command continues from the last checkpoint."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from mcdist.report.jsonl import read_metrics
from mcdist.resilience.attempts import attempts_without_progress, list_attempts
from mcdist.run_dir import RunDir, list_checkpoints
from tests.fixture_types import MakeShards
from tests.makers.many_ranks import free_port

CONFIG = """
data: {num_workers: 1, block: 4, num_lanes: 4}
views: {size_px: 32, max_objects: 2}
model: {backbone: resnet18, num_stages: 3, norm: group, decoder: linear, embedding_dim: 8, bank_size: 16}
optim: {global_batch: 4, epochs: 100000, lr: 0.05}
run: {device: cpu, num_threads: 1}
checkpoint: {every_steps: 5}
report: {mlflow: "off", log_every_steps: 1}
"""
DEADLINE_S = 240
Processes = list["subprocess.Popen[str]"]


@contextmanager
def two_ranks(folder: Path, shards: Path, *overrides: str) -> Iterator[Processes]:
    """Both ranks of a run as processes of this test, without a launcher, so that each one's exit code is seen. Ended with the block at the latest."""
    (folder / "config.yaml").write_text(CONFIG)
    port = free_port()
    command = [sys.executable, "-m", "mcdist", "train", str(folder / "config.yaml"), f"data.train={shards}", f"run.dir={folder / 'run'}", *overrides]
    place = {"WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "OMP_NUM_THREADS": "1"}
    processes = []
    try:
        for rank in range(2):
            environment = {**os.environ, **place, "RANK": str(rank), "LOCAL_RANK": str(rank)}
            processes.append(
                subprocess.Popen(
                    command, text=True, start_new_session=True, env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE
                )
            )
        yield processes
    finally:
        for process in processes:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.communicate(timeout=60)


def wait_for(condition: Callable[[], bool], *, processes: Processes) -> None:
    ends_s = time.monotonic() + DEADLINE_S
    while not condition():
        ended = [process for process in processes if process.poll() is not None]
        assert not ended, [process.communicate() for process in ended]
        assert time.monotonic() < ends_s, f"nothing came in {DEADLINE_S} s"
        time.sleep(0.05)


def _saved(run_dir: RunDir) -> int:
    checkpoints = list_checkpoints(run_dir.checkpoints)
    return int(checkpoints[-1].name.removeprefix("step_")) if checkpoints else 0


def told_by_mcdist(error: str) -> int:
    """Lines of ours, and of stack traces; warnings of torch and Python may stand beside them."""
    return sum(line.startswith(("mcdist:", "Traceback")) for line in error.splitlines())


def test_a_rank_that_is_killed_ends_the_other_with_one_line_and_loses_no_more_than_an_interval(tmp_path: Path, make_shards: MakeShards) -> None:
    """The ranks load photos themselves; in the slow tests each has a worker."""
    run_dir, shards = RunDir(tmp_path / "run"), make_shards(12)
    with two_ranks(tmp_path, shards, "data.num_workers=0") as processes:
        wait_for(lambda: _saved(run_dir) >= 5, processes=processes)
        processes[1].send_signal(signal.SIGKILL)
        _, error = processes[0].communicate(timeout=DEADLINE_S)
    assert processes[0].returncode == 7, error
    assert "mcdist: rank 0 of 2 lost touch with another rank: " in error
    assert told_by_mcdist(error) == 1, error
    logged = read_metrics(run_dir.metrics)[-1].step
    saved = _saved(run_dir)
    assert logged - saved <= 5
    assert [attempt.exit_code for attempt in list_attempts(run_dir.attempts)] == [7]
    assert attempts_without_progress(run_dir.root) == 0
    with two_ranks(tmp_path, shards, "data.num_workers=0") as processes:
        wait_for(lambda: _saved(run_dir) >= saved + 5, processes=processes)
        for process in processes:
            process.send_signal(signal.SIGTERM)
        codes = [(process.wait(timeout=DEADLINE_S), process.communicate()) for process in processes]
        assert [code for code, _ in codes] == [143, 143], codes
    assert list_attempts(run_dir.attempts)[1].began_step == saved
    steps = [record.step for record in read_metrics(run_dir.metrics) if record.name == "loss"]
    assert steps == list(range(1, _saved(run_dir) + 1)), "each step once"


@pytest.mark.slow
def test_a_rank_that_hangs_ends_the_other_which_tells_where_it_stood(tmp_path: Path, make_shards: MakeShards) -> None:
    run_dir = RunDir(tmp_path / "run")
    with two_ranks(tmp_path, make_shards(12), "run.hang_timeout_s=20") as processes:
        wait_for(lambda: _saved(run_dir) >= 5, processes=processes)
        processes[1].send_signal(signal.SIGSTOP)
        _, error = processes[0].communicate(timeout=DEADLINE_S)
    assert processes[0].returncode == 7, error
    assert "rank 0 finished no step for 20 s" in error
    assert told_by_mcdist(error) == 1, error
    assert "train_step" in (run_dir.stacks / "rank_00000.txt").read_text()
    assert "rank 0 finished no step" in run_dir.log.read_text()


@pytest.mark.slow
def test_a_job_on_a_held_folder_is_refused_on_all_ranks_and_told_once(tmp_path: Path, make_shards: MakeShards) -> None:
    run_dir, shards = RunDir(tmp_path / "run"), make_shards(12)
    with two_ranks(tmp_path, shards) as first:
        wait_for(lambda: _saved(run_dir) >= 5, processes=first)
        with two_ranks(tmp_path, shards) as second:
            told = [process.communicate(timeout=DEADLINE_S)[1] for process in second]
        assert [process.returncode for process in second] == [8, 8], told
        assert "is held by attempt 1 on" in told[0]
        assert told[1] == ""
        saved = _saved(run_dir)
        wait_for(lambda: _saved(run_dir) > saved, processes=first)
