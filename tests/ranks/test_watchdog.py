"""A hang is found, told with every thread's place, and becomes exit code 7; what is only slow or suspended is left alone."""

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from mcdist.errors import RankLostError
from mcdist.ranks.watchdog import Watchdog

DEADLINE_S = 120
SCRIPT = """
import ctypes, sys, threading, time
from pathlib import Path
from mcdist.ranks.watchdog import Watchdog
folder = Path(sys.argv[1])
def waits_for_data(): time.sleep(1000)
threading.Thread(target=waits_for_data, daemon=True).start()
def hangs_here(): {hang}
with Watchdog(timeout_s={timeout_s}, rank=3, folder=folder / "stacks", log=folder / "log.txt", attempt_folder=folder / "attempt") as dog:
    for _ in range({steps}):
        dog.beat()
    print("hangs", flush=True)
    hangs_here()
print("came through", flush=True)
"""


def script(folder: Path, *, hang: str, timeout_s: float, steps: int = 2) -> "subprocess.Popen[str]":
    (folder / "attempt").mkdir()
    (folder / "log.txt").touch()
    command = [sys.executable, "-c", SCRIPT.format(hang=hang, timeout_s=timeout_s, steps=steps), str(folder)]
    return subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


@pytest.mark.parametrize(("steps", "after"), [(2, "2 steps"), (0, "0 steps")])
def test_a_hang_is_told_with_every_threads_place_and_leaves_with_seven(tmp_path: Path, steps: int, after: str) -> None:
    process = script(tmp_path, hang="time.sleep(1000)", timeout_s=1.0, steps=steps)
    try:
        _, error = process.communicate(timeout=DEADLINE_S)
    finally:
        process.kill()
    assert process.returncode == RankLostError.exit_code == 7
    assert error.count("\n") == 1
    assert f"rank 3 finished no step for {1 if steps else 3} s (run.hang_timeout_s=1), after {after}" in error
    stacks = (tmp_path / "stacks" / "rank_00003.txt").read_text()
    assert "hangs_here" in stacks
    assert "waits_for_data" in stacks
    assert (tmp_path / "log.txt").read_text() == error


def test_a_rank_of_a_replaced_attempt_leaves_no_stacks_and_no_line_in_the_log(tmp_path: Path) -> None:
    process = script(tmp_path, hang="time.sleep(1000)", timeout_s=3.0)
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "hangs\n"
        (tmp_path / "attempt").rmdir()
        (tmp_path / "new").write_text("of the newer attempt\n")
        (tmp_path / "new").replace(tmp_path / "log.txt")
        _, error = process.communicate(timeout=DEADLINE_S)
    finally:
        process.kill()
    assert process.returncode == 7
    assert "hangs_here" in error and "finished no step" in error
    assert not (tmp_path / "stacks").exists()
    assert (tmp_path / "log.txt").read_text() == "of the newer attempt\n"


def test_a_call_that_holds_the_interpreter_is_ended_too(tmp_path: Path) -> None:
    process = script(tmp_path, hang="time.sleep(1); ctypes.PyDLL(None).sleep(1000)", timeout_s=2.0)  # PyDLL keeps the interpreter's lock
    try:
        _, error = process.communicate(timeout=DEADLINE_S)
    finally:
        process.kill()
    assert process.returncode == 1
    assert "hangs_here" in error


def test_a_process_that_was_suspended_is_not_taken_for_one_that_hangs(tmp_path: Path) -> None:
    process = script(tmp_path, hang="time.sleep(1)", timeout_s=8.0)
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "hangs\n"
        process.send_signal(signal.SIGSTOP)
        time.sleep(10)
        process.send_signal(signal.SIGCONT)
        assert process.wait(timeout=DEADLINE_S) == 0, process.communicate()
    finally:
        process.kill()
        process.communicate()


def test_without_a_timeout_nothing_watches(tmp_path: Path) -> None:
    with Watchdog(timeout_s=0.0, rank=0, folder=tmp_path / "a", log=tmp_path / "b", attempt_folder=tmp_path) as dog:
        dog.beat()
        assert not dog._thread.is_alive()


def test_a_watch_that_ends_leaves_no_thread_and_no_timer(tmp_path: Path) -> None:
    with Watchdog(timeout_s=1000.0, rank=0, folder=tmp_path / "a", log=tmp_path / "b", attempt_folder=tmp_path) as dog:
        for _ in range(3):
            dog.beat()
    assert not dog._thread.is_alive()
    assert not list(tmp_path.iterdir())
