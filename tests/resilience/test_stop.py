"""Signals: what a run makes of them at any time, sent to one process or, as clusters do, to every process of a job."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from mcdist.errors import REQUEUE
from mcdist.report.jsonl import read_metrics
from mcdist.resilience.stop import NOTICES, StopWish
from mcdist.run_dir import RunDir, list_checkpoints
from tests.fixture_types import MakeShards
from tests.makers.endless_run import CONFIG

USR1, USR2, TERM, INT = signal.SIGUSR1, signal.SIGUSR2, signal.SIGTERM, signal.SIGINT
DEADLINE_S = 240


@pytest.mark.parametrize(
    ("came", "code"),
    [([], 0), ([USR1], REQUEUE), ([USR2], REQUEUE), ([TERM], 143), ([INT], 130), ([USR2, TERM], REQUEUE), ([TERM, USR2], REQUEUE), ([INT, TERM], 143)],
)
def test_the_weightiest_signal_decides_the_exit_code_whatever_the_order(came: list[signal.Signals], code: int) -> None:
    with StopWish() as stop:
        for number in came:
            os.kill(os.getpid(), number)
        assert stop() is bool(came)
        assert stop.exit_code == code


def test_a_run_leaves_no_handler_and_no_memory_of_signals_behind() -> None:
    before = [signal.getsignal(number) for number in NOTICES]
    with StopWish():
        os.kill(os.getpid(), TERM)
    assert [signal.getsignal(number) for number in NOTICES] == before
    with StopWish() as stop:
        assert not stop()


def test_a_second_interrupt_leaves_at_once_and_two_of_other_signals_do_not() -> None:
    with StopWish():
        for number in (TERM, TERM, USR2, USR2, INT):
            os.kill(os.getpid(), number)
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), INT)


@contextmanager
def python(*arguments: str) -> Iterator["subprocess.Popen[str]"]:
    """A Python process in a group of its own, ended with the block at the latest. The signals wait until it answers them, as a good launcher sees to."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, NOTICES)
    try:
        process = subprocess.Popen(
            [sys.executable, *arguments],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
        )
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
    try:
        yield process
    finally:
        _to_group(process, signal.SIGKILL)
        process.communicate(timeout=60)


def _to_group(process: "subprocess.Popen[str]", number: signal.Signals) -> None:
    try:
        os.killpg(process.pid, number)
    except ProcessLookupError:
        return


def _wait_for(condition: Callable[[], bool], *, process: "subprocess.Popen[str]") -> None:
    ends_s = time.monotonic() + DEADLINE_S
    while not condition():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < ends_s, f"nothing came in {DEADLINE_S} s"
        time.sleep(0.02)


LISTENS = """
import sys, threading, time
from mcdist.resilience.stop import StopWish, listen
listen()
assert "torch" not in sys.modules
print("listens", flush=True)
with StopWish() as stop:
    try:
        while not {condition}:
            time.sleep(0.01)
        print("code", stop.exit_code, flush=True)
    except KeyboardInterrupt:
        print("interrupted", flush=True)
"""


@pytest.mark.parametrize(
    ("condition", "numbers", "said"),
    [
        ("stop()", [USR2], "code 75"),
        ("stop()", [TERM], "code 143"),
        ("stop()", [INT], "code 130"),
        ("stop.signal_number == 10", [TERM, USR1], "code 75"),
        ("False", [TERM, INT, INT], "interrupted"),
    ],
)
def test_a_process_that_listens_notes_what_was_sent_before_it_did_and_since(condition: str, numbers: list[signal.Signals], said: str) -> None:
    with python("-c", LISTENS.format(condition=condition)) as process:
        assert process.stdout is not None
        os.kill(process.pid, numbers[0])  # in its first instructions
        assert process.stdout.readline() == "listens\n"
        for number in numbers[1:]:
            time.sleep(0.2)  # two of a kind at the same time are one
            os.kill(process.pid, number)
        assert process.wait(timeout=DEADLINE_S) == 0
        assert process.stdout.read().strip() == said  # `communicate` would miss what readline read ahead


def test_a_second_interrupt_ends_even_a_process_that_hangs_in_a_call() -> None:
    hangs = "import ctypes, mcdist.resilience.stop as s; s.LEAVE_WITHIN_S = 0.5; s.listen(); print('listens', flush=True); ctypes.CDLL(None).sleep(1000)"
    with python("-c", hangs) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "listens\n"
        os.kill(process.pid, INT)
        time.sleep(0.2)
        assert process.poll() is None
        os.kill(process.pid, INT)
        assert process.wait(timeout=DEADLINE_S) == 130


@contextmanager
def training(tmp_path: Path, shards: Path, *overrides: str) -> Iterator["subprocess.Popen[str]"]:
    (tmp_path / "config.yaml").write_text(CONFIG)
    given = [f"data.train={shards}", f"run.dir={tmp_path / 'run'}", *overrides]
    with python("-m", "mcdist", "train", str(tmp_path / "config.yaml"), *given) as process:
        yield process


def _has_logged(run_dir: RunDir) -> bool:
    return run_dir.metrics.is_file() and run_dir.metrics.stat().st_size > 0


def test_a_whole_job_signalled_from_its_first_instruction_on_leaves_before_its_first_step_and_asks_for_a_start(tmp_path: Path, make_shards: MakeShards) -> None:
    with training(tmp_path, make_shards(12)) as process:
        ends_s = time.monotonic() + DEADLINE_S
        while process.poll() is None and time.monotonic() < ends_s:
            for number in (USR2, TERM, USR1):
                _to_group(process, number)
            time.sleep(0.03)
        out, error = process.communicate(timeout=DEADLINE_S)
    assert process.returncode == REQUEUE, (out, error)
    assert "stopped before the first step" in out
    assert not error
    assert not list_checkpoints(RunDir(tmp_path / "run").checkpoints)


def test_a_whole_job_signalled_while_it_trains_saves_and_continues_where_it_stood(tmp_path: Path, make_shards: MakeShards) -> None:
    run_dir = RunDir(tmp_path / "run")
    shards = make_shards(12)
    with training(tmp_path, shards) as process:
        _wait_for(lambda: _has_logged(run_dir), process=process)
        while process.poll() is None:
            for number in (USR1, TERM):
                _to_group(process, number)
            time.sleep(0.01)
        out, error = process.communicate(timeout=DEADLINE_S)
    assert process.returncode == REQUEUE, (out, error)
    assert "and saved; the same command continues" in out
    assert not error
    saved = int(list_checkpoints(run_dir.checkpoints)[-1].name.removeprefix("step_"))
    steps = [record.step for record in read_metrics(run_dir.metrics) if record.name == "loss"]
    assert steps == list(range(1, saved + 1))


def _children(pid: int) -> list[int]:
    found = []
    for path in Path(f"/proc/{pid}/task").glob("*/children"):
        for child in map(int, path.read_text().split()):
            found += [child, *_children(child)]
    return found


def test_a_run_that_is_killed_leaves_no_process_behind(tmp_path: Path, make_shards: MakeShards) -> None:
    run_dir = RunDir(tmp_path / "run")
    with training(tmp_path, make_shards(12)) as process:
        _wait_for(lambda: _has_logged(run_dir), process=process)
        children = _children(process.pid)
        assert len(children) >= 3, "the tracker, the server and a worker"
        process.kill()
        process.communicate(timeout=DEADLINE_S)  # ends when nobody holds the pipes any more


@pytest.mark.slow
def test_workers_and_their_server_live_through_signals_that_a_cluster_sends_them(tmp_path: Path, make_shards: MakeShards) -> None:
    """Only the children get them, so the run trains on to its end."""
    with training(tmp_path, make_shards(12), "optim.epochs=30") as process:
        reached: set[int] = set()
        ends_s = time.monotonic() + DEADLINE_S
        while process.poll() is None and time.monotonic() < ends_s:
            for child in _children(process.pid):
                for number in NOTICES:
                    try:
                        os.kill(child, number)
                    except ProcessLookupError:
                        continue
                    reached.add(child)
            time.sleep(0.02)
        out, error = process.communicate(timeout=DEADLINE_S)
    assert process.returncode == 0, (out, error)
    assert not error
    assert len(reached) >= 3, "the tracker, the server and a worker"
    assert [path.name for path in list_checkpoints(RunDir(tmp_path / "run").checkpoints)][-1] == "step_00000090"
