"""A run folder has one holder: a second start is refused while the first lives, and one that was replaced can write nothing any more."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from mcdist.disk.checkpoint import load_checkpoint, save_checkpoint
from mcdist.errors import REQUEUE, ConfigError, HeldError, MachineError, SupersededError
from mcdist.records import Record
from mcdist.report.jsonl import MetricsFile, read_metrics
from mcdist.resilience import attempts
from mcdist.resilience.attempts import Attempt, attempts_without_progress, list_attempts, read_attempt, this_process
from mcdist.resilience.claim import Claim, claim_run
from mcdist.run_dir import RunDir, list_checkpoints, name_of

LONG_S, SHORT_S = 1000.0, 1.0
DEADLINE_S = 60


def taken(run: RunDir, *, lease_s: float = LONG_S, say: Callable[[str], object] = lambda text: None) -> Claim:
    return claim_run(run.root, attempts=run.attempts, lease_s=lease_s, say=say)


@pytest.fixture
def run(tmp_path: Path) -> RunDir:
    return RunDir(tmp_path / "run").create()


def elsewhere(claim: Claim, **facts: object) -> Claim:
    """The claim as if a process of another machine had made it."""
    claim.attempt = replace(claim.attempt, host="far", machine="another", **facts)  # type: ignore[arg-type]
    claim.note()
    return claim


def wait_for(condition: Callable[[], bool]) -> None:
    ends_s = time.monotonic() + DEADLINE_S
    while not condition():
        assert time.monotonic() < ends_s, "it never came"
        time.sleep(0.02)


def test_a_second_start_is_refused_at_once_while_the_first_lives_on_this_machine(run: RunDir) -> None:
    with taken(run) as first, pytest.raises(HeldError, match=rf"held by attempt 1 on .* \(process {os.getpid()}, since 20.*alive: .*run.dir=PATH"):
        taken(run)
    assert not first.lost
    assert HeldError.exit_code == 8


def test_a_start_after_one_that_let_go_has_the_next_number_and_does_not_wait(run: RunDir) -> None:
    heard: list[str] = []
    for number in (1, 2, 3):
        with taken(run, say=heard.append) as claim:
            assert claim.attempt.number == number
    assert not heard
    assert [attempt.exit_code for attempt in list_attempts(run.attempts)] == [0, 0, 0]


def test_a_holder_elsewhere_that_keeps_its_lease_is_seen_to_live(run: RunDir) -> None:
    heard: list[str] = []
    with elsewhere(taken(run, lease_s=SHORT_S)), pytest.raises(HeldError, match="held by attempt 1 on far"):
        taken(run, say=heard.append)
    assert len(heard) == 1
    assert "waiting up to 1000 s to see whether it is alive" in heard[0]


def test_a_holder_elsewhere_of_whom_nothing_is_heard_for_a_lease_is_replaced(run: RunDir) -> None:
    heard: list[str] = []
    elsewhere(taken(run, lease_s=SHORT_S))  # nobody renews it
    with taken(run, lease_s=SHORT_S, say=heard.append) as second:
        assert second.attempt.number == 2
    assert "attempt 1 on far" in heard[-1] and "was silent for 1 s; taking over" in heard[-1]


def test_the_longer_of_two_leases_counts(run: RunDir) -> None:
    elsewhere(taken(run, lease_s=LONG_S))
    with ExitStack() as stack:
        challenger = threading.Thread(target=lambda: stack.enter_context(taken(run, lease_s=0.1)), daemon=True)
        challenger.start()
        challenger.join(timeout=1.5)
        assert challenger.is_alive()
        (run.attempts / "000001").rename(run.attempts / ".gone")  # let it go
        challenger.join(timeout=DEADLINE_S)
        assert not challenger.is_alive()


HOLDS = """
import sys, time
from pathlib import Path
from mcdist.resilience.claim import claim_run
run = Path(sys.argv[1])
with claim_run(run, attempts=run / "attempts", lease_s=1000.0, say=print):
    print("holds", flush=True)
    time.sleep(1000)
"""


def test_a_holder_that_was_killed_on_this_machine_is_replaced_without_waiting(run: RunDir) -> None:
    process = subprocess.Popen([sys.executable, "-c", HOLDS, str(run.root)], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    try:
        assert process.stdout.readline() == "holds\n"
        with pytest.raises(HeldError):
            taken(run)
        process.send_signal(signal.SIGKILL)  # and nobody has reaped it yet
        wait_for(lambda: not attempts._process(process.pid))
        with taken(run) as claim:
            assert claim.attempt.number == 2
            assert not (run.attempts / "000001").exists()
    finally:
        process.kill()
        process.communicate(timeout=DEADLINE_S)


def test_a_requeued_job_takes_over_at_once_and_another_job_does_not(run: RunDir, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLURM_JOB_ID", "77")
    first = elsewhere(taken(run))
    with first:
        with pytest.raises(HeldError, match="SLURM job 77"):
            elsewhere_lives(first, run)
        monkeypatch.setenv("SLURM_RESTART_COUNT", "1")
        with taken(run) as second:
            assert (second.attempt.number, second.attempt.restart) == (2, 1)
            with pytest.raises(SupersededError, match="is held by attempt 2 on .* now, this was attempt 1"):
                first.check()


def elsewhere_lives(claim: Claim, run: RunDir) -> None:
    """Challenge the claim, whose beat goes on."""
    ended = threading.Event()

    def beats() -> None:
        while not ended.wait(0.05):
            claim._beat()

    thread = threading.Thread(target=beats, daemon=True)
    thread.start()
    try:
        taken(run)
    finally:
        ended.set()
        thread.join()


def test_of_many_that_try_at_once_one_gets_through(run: RunDir) -> None:
    ready, claims, refused = threading.Barrier(8), [], []

    def attempt() -> None:
        ready.wait()
        try:
            claims.append(taken(run))
        except HeldError:
            refused.append(1)

    threads = [threading.Thread(target=attempt) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=DEADLINE_S)
    assert (len(claims), len(refused)) == (1, 7)


def save(run: RunDir, claim: Claim, *, step: int, value: float) -> None:
    with claim.fenced() as folder:
        save_checkpoint(run.checkpoints / name_of(step), tensors={"a": torch.full((2,), value)}, numbers={"step": step}, folder=folder)


def test_one_that_was_replaced_and_comes_back_changes_no_file_of_the_run(run: RunDir) -> None:
    run.config.write_text("of the first")
    first = elsewhere(taken(run, lease_s=0.2))
    with first.fenced() as folder:
        old = MetricsFile(run.metrics, after_step=0, folder=folder)
    old.write([Record(1, "loss", 1.0, "")])
    save(run, first, step=1, value=1.0)
    with taken(run, lease_s=0.2) as second:
        with second.fenced() as folder, MetricsFile(run.metrics, after_step=1, folder=folder) as metrics:
            metrics.write([Record(2, "loss", 2.0, "")])
        save(run, second, step=2, value=2.0)

        old.write([Record(2, "loss", -1.0, "")])
        old.close()
        for step in (2, 3):
            with pytest.raises(SupersededError, match="it wrote nothing after that"):
                save(run, first, step=step, value=-1.0)
        with pytest.raises(SupersededError):
            first.write(run.config, b"of the late one")
        with pytest.raises(SupersededError):
            first.note(saved_step=3)
        assert second.folder.is_dir()
    assert [path.name for path in list_checkpoints(run.checkpoints)] == [name_of(1), name_of(2)]
    assert load_checkpoint(run.checkpoints / name_of(2)).tensors["a"].tolist() == [2.0, 2.0]
    assert [(record.step, record.value) for record in read_metrics(run.metrics)] == [(1, 1.0), (2, 2.0)]
    assert run.config.read_text() == "of the first"
    assert SupersededError.exit_code == 9


def test_one_that_was_replaced_notices_by_itself_and_takes_nothing_with_it(run: RunDir) -> None:
    with elsewhere(taken(run, lease_s=0.3)) as first:
        first._over.set()  # the network is cut
        first._thread.join()
        second = taken(run, lease_s=0.3)
        assert not first.lost
        first._over.clear()
        first._thread = threading.Thread(target=first._keep, daemon=True)
        first._thread.start()  # and comes back
        wait_for(lambda: first.lost)
    assert second.folder.is_dir()
    with pytest.raises(SupersededError):
        first.check()


def test_a_full_disk_is_not_taken_for_another_holder(run: RunDir, monkeypatch: pytest.MonkeyPatch) -> None:
    with taken(run) as claim:
        monkeypatch.setattr(os, "fsync", lambda descriptor: (_ for _ in ()).throw(OSError(28, "No space left on device")))
        with pytest.raises(MachineError, match="No space left"):
            claim.write(run.config, b"text")
        monkeypatch.undo()
        assert not claim.lost


def test_how_an_attempt_ended_is_written_down(run: RunDir) -> None:
    with pytest.raises(ConfigError), taken(run) as claim:
        claim.note(began_step=3)
        claim.note(saved_step=5)
        raise ConfigError("no")
    found = read_attempt(run.attempts, 1)
    assert found is not None
    assert (found.began_step, found.saved_step, found.exit_code, found.pid) == (3, 5, 2, os.getpid())


def of(number: int, *, began: int | None, saved: int | None, code: int | None) -> Attempt:
    return replace(this_process(number=number, lease_s=1.0), began_step=began, saved_step=saved, exit_code=code)


@pytest.mark.parametrize(
    ("ends", "count"),
    [
        ([], 0),
        ([(0, 5, None)], 0),
        ([(None, None, None)], 1),
        ([(0, None, 7), (0, None, 7)], 2),
        ([(0, None, 7), (0, 5, 7), (5, None, 7)], 1),
        ([(0, 5, None), (5, None, REQUEUE), (5, None, None), (5, 5, 7)], 2),
        ([(0, None, REQUEUE)], 0),
    ],
)
def test_attempts_without_progress_are_those_since_the_last_new_checkpoint_but_for_the_ones_a_notice_stopped(
    run: RunDir, ends: list[tuple[int | None, int | None, int | None]], count: int
) -> None:
    run.attempts.mkdir()
    for number, (began, saved, code) in enumerate(ends, start=1):
        (run.attempts / f"{number:06d}.json").write_bytes(of(number, began=began, saved=saved, code=code).to_json())
    (run.attempts / "notes.json").write_text("not one of them")
    assert attempts_without_progress(run.root) == count


def test_a_launcher_reads_attempts_without_torch(run: RunDir) -> None:
    asks = "import sys; from pathlib import Path; from mcdist.resilience.attempts import attempts_without_progress as count; count(Path(sys.argv[1]))"
    done = subprocess.run(
        [sys.executable, "-c", f"{asks}; print('torch' in sys.modules)", str(run.root)], capture_output=True, text=True, timeout=DEADLINE_S, check=False
    )
    assert done.stdout == "False\n", done.stderr
