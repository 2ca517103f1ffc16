"""The command line as a person meets it: help that reads well, one sentence and an exit code where something is wrong."""

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from mcdist.__main__ import main
from mcdist.cli.main import app
from mcdist.resilience import stop
from mcdist.run_dir import RunDir, list_checkpoints
from tests.fixture_types import MakeShards
from tests.makers.endless_run import CONFIG

ROOT = Path(__file__).resolve().parent.parent.parent


def _main(arguments: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> tuple[int, str]:
    """Exit code and standard error of `mcdist ARGUMENTS`. It listens to no signal: that lasts to the end of a process, which here is the tests'."""
    monkeypatch.setattr(sys, "argv", ["mcdist", *arguments])
    monkeypatch.setattr("mcdist.__main__.listen", lambda: None)
    with pytest.raises(SystemExit) as left:
        main()
    return int(left.value.code or 0), capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "code", "sentence"),
    [
        (["train", "nowhere.yaml"], 2, "cannot read the configuration nowhere.yaml"),
        (["train", "CONFIG", "optim.lrr=1"], 2, "did you mean 'optim.lr'"),
        (["train", "CONFIG", "optim.epochs=many"], 2, "optim.epochs in the argument 'optim.epochs=many' must be a whole number"),
        (["train", "CONFIG", "data.train=nowhere"], 3, "expected a shard folder at nowhere"),
        (["evaluate", "nowhere"], 2, "expected a run at nowhere"),
        (["report", "nowhere"], 2, "expected a run at nowhere"),
        (["report", "SHARDS"], 2, "(its config.yaml), found none; train first"),
        (["evaluate", "SHARDS"], 2, "(its config.yaml), found none; train first"),
        (["train", "dmeo"], 2, "did you mean 'demo'? presets: "),
        (["train", "CONFIG", "optim.lr=1", "optim.lr=2"], 2, "optim.lr is set twice, by 'optim.lr=1' and by 'optim.lr=2'; give it once"),
        (["evaluate", "nowhere", "evaluate.limit=1", "evaluate.limit=1"], 2, "evaluate.limit is set twice"),
        (["train", "CONFIG", "run.dir=SHARDS", "data.train=SHARDS"], 2, "must be a folder of its own, it holds shards"),
        (["train", "CONFIG", "run.dir=/proc/nowhere", "data.train=SHARDS"], 7, "cannot create the run folder /proc/nowhere"),
    ],
)
def test_what_a_person_gets_wrong_is_one_sentence_and_an_exit_code(
    arguments: list[str],
    code: int,
    sentence: str,
    tmp_path: Path,
    make_shards: MakeShards,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (tmp_path / "config.yaml").write_text(CONFIG)
    named = {"CONFIG": str(tmp_path / "config.yaml")}
    given = [named.get(argument, argument) for argument in arguments]
    given = [argument.replace("SHARDS", str(make_shards(4))) if "SHARDS" in argument else argument for argument in given]
    got, error = _main(given, monkeypatch, capsys)
    assert got == code
    assert sentence in error
    assert error.count("\n") == 1
    assert "Traceback" not in error


def _every_command(command: Any, words: tuple[str, ...] = ()) -> list[tuple[str, ...]]:
    """The words of every command and group below `command`."""
    return [words, *(found for name, below in getattr(command, "commands", {}).items() for found in _every_command(below, (*words, name)))]


@pytest.mark.parametrize("words", _every_command(typer.main.get_command(app)), ids=" ".join)
def test_every_command_explains_itself(words: tuple[str, ...]) -> None:
    result = CliRunner().invoke(app, [*words, "--help"])
    assert result.exit_code == 0
    assert len(result.output.splitlines()) > 5
    assert f"Usage: mcdist {' '.join(words)}".rstrip() in result.output


def test_the_commands_are_those_that_are_documented() -> None:
    first = {words[0] for words in _every_command(typer.main.get_command(app)) if words}
    assert first >= {"demo", "shards", "proposals", "train", "embed", "group", "evaluate", "protocols", "report", "launch", "doctor"}


@pytest.mark.parametrize("words", [["--help"], ["shards", "build", "coco", "--help"], ["launch", "--help"], ["proposals", "--help"]])
def test_help_imports_nothing_slow(words: list[str]) -> None:
    done = subprocess.run([sys.executable, "-X", "importtime", "-m", "mcdist", *words], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    imported = {line.rpartition("|")[2].strip().partition(".")[0] for line in done.stderr.splitlines() if line.startswith("import time:")}
    assert "typer" in imported and not imported & {"torch", "numpy", "scipy", "PIL", "omegaconf", "yaml", "submitit", "matplotlib"}


@pytest.mark.parametrize(
    ("program", "words"),
    [
        (["-m", "shards"], ["build", "demo", "--help"]),
        (["shards/coco.py"], ["--help"]),
        (["launch/slurm.py"], ["--help"]),
    ],
)
def test_the_clones_own_scripts_are_the_same_commands(program: list[str], words: list[str]) -> None:
    done = subprocess.run([sys.executable, *program, *words], cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert re.search("Usage: mcdist (shards build demo|shards build coco|launch) ", done.stdout)


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), pytest.param(signal.SIGINT, 130, marks=pytest.mark.slow)])
def test_a_signal_saves_and_leaves(number: signal.Signals, code: int, tmp_path: Path, make_shards: MakeShards) -> None:
    """Loaded in this process; runs with workers and other signals are in tests/resilience/test_stop.py."""
    (tmp_path / "config.yaml").write_text(CONFIG)
    run_dir = RunDir(tmp_path / "run")
    given = [f"data.train={make_shards(12)}", f"run.dir={run_dir.root}", "data.num_workers=0"]
    command = [sys.executable, "-m", "mcdist", "train", str(tmp_path / "config.yaml"), *given]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env={**os.environ, "OMP_NUM_THREADS": "1"})
    try:
        _wait_for(lambda: run_dir.metrics.is_file() and run_dir.metrics.stat().st_size > 0, process)
        process.send_signal(number)
        out, error = process.communicate(timeout=120)
    finally:
        process.kill()
    assert process.returncode == code, error
    assert "and saved; the same command continues" in out
    assert "Traceback" not in error
    assert len(list_checkpoints(run_dir.checkpoints)) == 1


def _wait_for(condition: Callable[[], bool], process: "subprocess.Popen[str]") -> None:
    for _ in range(1200):
        if condition():
            return
        assert process.poll() is None, process.communicate()[1]
        time.sleep(0.1)
    raise AssertionError("the run did not log a step in two minutes")


def test_the_tests_own_process_listens_to_no_signal() -> None:
    assert not stop.is_listening()
    assert not signal.pthread_sigmask(signal.SIG_BLOCK, ())
