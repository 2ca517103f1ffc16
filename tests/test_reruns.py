"""What CI may run again: tests that start servers, where a server was late, and nothing that compares."""

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent
OUTCOMES = """
import pathlib
import pytest
from tests.servers import LateError, starts_a_server

LATE = starts_a_server.kwargs | {"reruns_delay": 0}

@pytest.mark.flaky(**LATE)
def test_late():
    tries = pathlib.Path(__file__).with_name("tries")
    tries.write_text(tries.read_text() + "x" if tries.exists() else "x")
    if tries.read_text() == "x":
        raise LateError("the server did not answer")

@pytest.mark.flaky(**LATE)
def test_wrong():
    assert 1 == 2
"""


def test_a_late_server_is_asked_again_by_name_and_a_comparison_is_not(tmp_path: Path) -> None:
    (tmp_path / "test_both.py").write_text(OUTCOMES)
    options = ["-c", str(ROOT / "setup.cfg"), "--rootdir", str(tmp_path), "-p", "no:cacheprovider", str(tmp_path)]
    done = subprocess.run([sys.executable, "-m", "pytest", *options], cwd=ROOT, capture_output=True, text=True, timeout=200, check=False)
    assert "1 failed, 1 passed, 1 rerun in" in done.stdout, done.stdout + done.stderr
    assert re.search(r"^RERUN .*test_both.py::test_late", done.stdout, re.MULTILINE), "each repeat is named"


def test_nothing_is_repeated_but_tests_that_start_servers() -> None:
    for path in (ROOT / ".ci" / "run", ROOT / "Makefile", ROOT / "setup.cfg"):
        assert "--reruns" not in path.read_text(), path.name
    texts = {path.relative_to(ROOT).as_posix(): path.read_text() for path in (ROOT / "tests").rglob("*.py")}
    assert {name for name, text in texts.items() if "mark.flaky" in text} == {"tests/servers.py", "tests/test_reruns.py"}
    marked = {name: text for name, text in texts.items() if "import starts_a_server" in text and name != "tests/test_reruns.py"}
    assert marked
    assert [name for name, text in marked.items() if "serve(" not in text and '"serve"' not in text and "pytest.mark.slurm" not in text] == []
