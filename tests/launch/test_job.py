"""Inside a job: how tasks are started, signalled and recorded, and how often a job starts again. SLURM's commands are small stand-ins on the path."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from mcdist.launch import job
from mcdist.launch.spec import JobSpec, JobStart, TaskEnd, Work, read_ends, write_end, write_spec
from mcdist.run_dir import META_NAME, name_of

ROOT = Path(__file__).resolve().parent.parent.parent
TIMEOUT_S = 120


def _submission(folder: Path, *argv: str, run_dir: str = "", prepare: tuple[str, ...] = ()) -> Path:
    (folder / "code").mkdir(parents=True)
    works = (Work(argv=argv, run_dir=run_dir, prepare=prepare),)
    write_spec(JobSpec(works=works, num_tasks=1, requeue_failures=False, max_attempts=3, commit="abc"), folder=folder)
    return folder


def _environment(**changes: str) -> dict[str, str]:
    clean = {name: value for name, value in os.environ.items() if not name.startswith("SLURM")}
    return {**clean, "PYTHONPATH": str(ROOT), "SLURM_JOB_ID": "17", "SLURM_PROCID": "0", **changes}


def _job(*words: str, **changes: str) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", "mcdist.launch.job", *words]
    return subprocess.run(command, env=_environment(**changes), capture_output=True, text=True, timeout=TIMEOUT_S, check=False)


def _stub(folder: Path, name: str, script: str) -> None:
    folder.mkdir(exist_ok=True)
    (folder / name).write_text(f"#!/bin/sh\n{script}\n")
    (folder / name).chmod(0o755)


def _ended(folder: Path, *, restarts: int = 0) -> list[int]:
    return [end.code for end in read_ends(JobStart("17", 0, restarts).folder(folder))]


@pytest.mark.parametrize(("code", "told"), [(0, 0), (2, 2), (7, 7), (75, 0), (143, 0), (130, 0)])
def test_a_tasks_end_is_written_down_and_what_all_ranks_agree_on_is_no_failure_to_srun(tmp_path: Path, code: int, told: int) -> None:
    folder = _submission(tmp_path / "0001", "-c", f"raise SystemExit({code})")
    done = _job("task", str(folder))
    assert done.returncode == told, done.stderr
    assert _ended(folder) == [code]


def test_a_killed_work_is_recorded_with_its_signal(tmp_path: Path) -> None:
    folder = _submission(tmp_path / "0001", "-c", "import os; os.kill(os.getpid(), 9)")
    assert _job("task", str(folder)).returncode == 137
    assert _ended(folder) == [137]


def test_the_work_sees_the_code_of_the_submission_and_not_the_folder_it_runs_in(tmp_path: Path) -> None:
    folder = _submission(tmp_path / "0001", "-c", "import sys, where, os; print(where.__file__, sys.path[0], os.environ['MCDIST_COMMIT'])")
    (folder / "code" / "where.py").write_text("")
    (tmp_path / "where.py").write_text("raise SystemExit(1)")
    command = [sys.executable, "-m", "mcdist.launch.job", "task", str(folder)]
    done = subprocess.run(command, env=_environment(), cwd=tmp_path, capture_output=True, text=True, timeout=TIMEOUT_S, check=False)
    assert done.stdout.split() == [str(folder / "code" / "where.py"), str(folder / "code"), "abc"], done.stderr


def test_a_notice_that_comes_before_the_work_listens_is_not_lost(tmp_path: Path) -> None:
    work = "import signal, sys, time, pathlib; pathlib.Path(sys.argv[1]).touch(); time.sleep(2); signal.signal(12, lambda *_: sys.exit(75)); time.sleep(60)"
    folder = _submission(tmp_path / "0001", "-c", work, str(tmp_path / "started"))
    process = subprocess.Popen(
        [sys.executable, "-m", "mcdist.launch.job", "task", str(folder)], env=_environment(), stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    try:
        until_s = time.monotonic() + TIMEOUT_S
        while not (tmp_path / "started").exists():
            assert time.monotonic() < until_s
            time.sleep(0.05)
        process.send_signal(signal.SIGUSR2)
        output, _ = process.communicate(timeout=TIMEOUT_S)
        assert process.returncode == 0, output
    finally:
        process.kill()
        process.wait()
    assert _ended(folder) == [75]


def test_a_notice_that_comes_while_the_work_is_started_is_not_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    work = "import signal, sys, time; signal.signal(12, lambda *_: sys.exit(75)); time.sleep(20)"
    begin, before = subprocess.Popen, {number: signal.getsignal(number) for number in (*job.NOTICES, signal.SIGTERM, signal.SIGINT)}

    def started(*arguments: Any, **options: Any) -> Any:
        child = begin(*arguments, **options)
        os.kill(os.getpid(), signal.SIGUSR2)
        return child

    monkeypatch.setattr(subprocess, "Popen", started)
    try:
        assert job._Parent().run([sys.executable, "-c", work], environment=dict(os.environ)) == 75
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def test_a_work_dies_with_its_parent(tmp_path: Path) -> None:
    folder = _submission(tmp_path / "0001", "-c", "import os, sys, time, pathlib; pathlib.Path(sys.argv[1]).write_text(str(os.getpid())); time.sleep(300)")
    spec_work = tmp_path / "pid"
    write_spec(
        JobSpec(works=(Work(argv=("-c", _WRITE_PID, str(spec_work)), run_dir=""),), num_tasks=1, requeue_failures=False, max_attempts=3, commit=""),
        folder=folder,
    )
    process = subprocess.Popen([sys.executable, "-m", "mcdist.launch.job", "task", str(folder)], env=_environment())
    try:
        until_s = time.monotonic() + TIMEOUT_S
        while not (spec_work.exists() and spec_work.read_text()):
            assert time.monotonic() < until_s
            time.sleep(0.05)
    finally:
        process.kill()
        process.wait()
    child = Path("/proc") / spec_work.read_text()
    while child.exists() and "Z" not in (child / "stat").read_text().rpartition(")")[2].split()[0]:
        assert time.monotonic() < until_s, "the work outlived its parent"
        time.sleep(0.05)


_WRITE_PID = "import os, sys, time, pathlib; pathlib.Path(sys.argv[1]).write_text(str(os.getpid())); time.sleep(300)"


@pytest.mark.parametrize(("array", "name"), [({}, "17"), ({"SLURM_ARRAY_JOB_ID": "17", "SLURM_ARRAY_TASK_ID": "0"}, "17_0")])
def test_a_job_that_asked_for_it_is_requeued_and_of_an_array_this_element_alone(tmp_path: Path, array: dict[str, str], name: str) -> None:
    folder = _submission(tmp_path / "0001", "-c", "")
    write_end(TaskEnd(rank=0, code=75, time_s=1.0), folder=JobStart("17", 0, 0).folder(folder))
    _stub(tmp_path / "bin", "scontrol", f'echo "$@" >> {tmp_path}/asked; case "$1" in show) echo "JobId=17 JobState=RUNNING";; requeue) kill -9 $PPID;; esac')
    done = _job("settle", str(folder), "0", PATH=f"{tmp_path / 'bin'}:/usr/bin:/bin", **array)
    assert done.returncode == -9, done.stdout + done.stderr  # as SLURM ends the script of a job that it requeues
    assert (tmp_path / "asked").read_text().splitlines() == [f"show job -o {name}", f"requeue {name}"]


@pytest.mark.parametrize("state", ["CANCELLED", "COMPLETING", "TIMEOUT", "PREEMPTED"])
def test_a_job_that_is_being_ended_is_not_requeued(tmp_path: Path, state: str) -> None:
    folder = _submission(tmp_path / "0001", "-c", "")
    write_end(TaskEnd(rank=0, code=75, time_s=1.0), folder=JobStart("17", 0, 0).folder(folder))
    _stub(tmp_path / "bin", "scontrol", f'case "$1" in show) echo "JobId=17 JobState={state}";; requeue) touch {tmp_path}/requeued;; esac')
    done = _job("settle", str(folder), "0", PATH=f"{tmp_path / 'bin'}:/usr/bin:/bin")
    assert done.returncode == 75 and f"SLURM has the job as {state}" in done.stdout
    assert not (tmp_path / "requeued").exists()


@pytest.mark.parametrize("code", [143, 1, 3])
def test_a_stopped_or_failed_job_is_not_requeued(tmp_path: Path, code: int) -> None:
    folder = _submission(tmp_path / "0001", "-c", "")
    write_end(TaskEnd(rank=0, code=code, time_s=1.0), folder=JobStart("17", 0, 0).folder(folder))
    _stub(tmp_path / "bin", "scontrol", f'case "$1" in show) echo "JobId=17 JobState=RUNNING PreemptTime=None";; requeue) touch {tmp_path}/requeued;; esac')
    done = _job("settle", str(folder), "0" if code == 143 else str(code), PATH=f"{tmp_path / 'bin'}:/usr/bin:/bin")
    assert done.returncode == code, done.stdout
    assert not (tmp_path / "requeued").exists()


def test_a_job_that_loses_ranks_starts_again_only_while_it_makes_progress(tmp_path: Path) -> None:
    run_dir = tmp_path / "run"
    folder = _submission(tmp_path / "0001", "-c", "", run_dir=str(run_dir))
    codes = []
    for restarts, step in enumerate([4, 8, 8, 8]):
        checkpoint = run_dir / "checkpoints" / name_of(step)
        checkpoint.mkdir(parents=True, exist_ok=True)
        (checkpoint / META_NAME).touch()
        write_end(TaskEnd(rank=0, code=137, time_s=1.0), folder=JobStart("17", 0, restarts).folder(folder))
        codes.append(_job("settle", str(folder), "137", SLURM_RESTART_COUNT=str(restarts), MCDIST_LOCAL="1").returncode)
    assert codes == [75, 75, 75, 7]
    given_up = _job("prepare", str(folder), MCDIST_LOCAL="1")
    assert given_up.returncode == 7 and "3 starts in a row ended without a new checkpoint" in given_up.stdout


def test_what_is_to_be_done_before_is_done_once_and_its_failure_ends_the_job(tmp_path: Path) -> None:
    folder = _submission(tmp_path / "0001", "-c", "", prepare=("-c", "raise SystemExit(3)"))
    assert _job("prepare", str(folder)).returncode == 3


def test_a_damaged_description_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "job.json").write_text("{}")
    done = _job("task", str(tmp_path))
    assert done.returncode == 3 and "expected a job's description at" in done.stderr
