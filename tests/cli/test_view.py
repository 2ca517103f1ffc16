"""mcdist view from the command line: errors that a user can make end in one sentence."""

import socket
from pathlib import Path

import pytest
from typer.testing import CliRunner

from mcdist.cli.main import app

pytest.importorskip("fastapi", reason="the extra `view` is not installed")


def test_what_is_no_run_and_a_port_in_use_are_one_sentence_each(tmp_path: Path):
    done = CliRunner().invoke(app, ["view", str(tmp_path), "--no-browser", "--port", "0"])
    assert done.exit_code == 2 and "expected a run at" in done.output
    (tmp_path / "config.yaml").write_text("{}\n")
    done = CliRunner().invoke(app, ["view", str(tmp_path), "--no-browser", "--port", "0"])
    assert done.exit_code == 3 and "make it with: mcdist cluster" in done.output
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        done = CliRunner().invoke(app, ["view", str(tmp_path), "--no-browser", "--port", str(other.getsockname()[1])])
    assert done.exit_code == 7 and "choose another one with --port" in done.output
