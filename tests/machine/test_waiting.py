"""Threads of OpenMP sleep soon, unless someone chose otherwise; set before torch, at every entry point, for workers too."""

import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

import mcdist
from mcdist.cli import main as command_line
from mcdist.errors import ConfigError
from mcdist.machine.waiting import SETTINGS, VARIABLE, Waiting, wait_briefly

ROOT = Path(__file__).resolve().parents[2]
NAMES = (VARIABLE, "OMP_WAIT_POLICY", *SETTINGS)


@pytest.fixture(autouse=True)
def nothing_set(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in NAMES:
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)


@pytest.fixture
def before_torch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "torch", raising=False)


@pytest.mark.usefixtures("before_torch")
def test_threads_sleep_after_a_thousand_spins() -> None:
    environment: dict[str, str] = {}
    assert wait_briefly(environment) == Waiting(True, "sleep after 1,000 spins")
    assert environment == SETTINGS
    assert wait_briefly(environment).brief, "a worker finds what its parent set, and agrees"


@pytest.mark.usefixtures("before_torch")
@pytest.mark.parametrize(
    ("environment", "said"),
    [
        ({VARIABLE: "system"}, "left as it is, since MCDIST_WAITING=system"),
        ({"OMP_WAIT_POLICY": "active"}, "left as it is, since the environment sets OMP_WAIT_POLICY"),
        ({"GOMP_SPINCOUNT": "infinity"}, "left as it is, since the environment sets GOMP_SPINCOUNT"),
        ({"KMP_BLOCKTIME": "200"}, "left as it is, since the environment sets KMP_BLOCKTIME"),
    ],
)
def test_what_others_chose_stays(environment: dict[str, str], said: str) -> None:
    before = dict(environment)
    assert wait_briefly(environment) == Waiting(False, said)
    assert environment == before


def test_after_torch_it_is_late_for_this_process_but_not_for_its_workers() -> None:
    environment: dict[str, str] = {}
    assert not wait_briefly(environment).brief
    assert environment == SETTINGS


def test_a_typo_names_the_choices() -> None:
    with pytest.raises(ConfigError, match="MCDIST_WAITING must be one of auto, system, got 'sytem'"):
        wait_briefly({VARIABLE: "sytem"})


def test_the_command_line_sets_it_and_says_a_typo_in_one_sentence(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(command_line, "app", lambda **_: None)
    command_line.main(["--help"])
    assert {name: os.environ.get(name) for name in SETTINGS} == SETTINGS
    monkeypatch.setenv(VARIABLE, "never")
    with pytest.raises(SystemExit, match="2"):
        command_line.main(["--help"])
    assert capsys.readouterr().err.startswith("mcdist: MCDIST_WAITING must be one of")


def test_the_functions_of_the_package_set_it(tmp_path: Path) -> None:
    with pytest.raises(ConfigError):
        mcdist.load(tmp_path / "none")
    assert {name: os.environ.get(name) for name in SETTINGS} == SETTINGS


def test_neither_it_nor_the_command_line_imports_torch() -> None:
    code = "import sys, mcdist.cli.main, benchmarks; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, env=os.environ | {"PYTHONPATH": str(ROOT)}, check=False).returncode == 0


def _gnu_library() -> Path | None:
    torch = find_spec("torch")
    return next(iter(Path(torch.origin or "").parent.glob("lib/libgomp*.so*")), None) if torch else None


@pytest.mark.skipif(_gnu_library() is None, reason="this torch does not bring GNU's OpenMP")
def test_gnu_openmp_takes_the_setting() -> None:
    code = "import ctypes, sys, benchmarks; ctypes.CDLL(sys.argv[1])"
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_DISPLAY_ENV": "verbose"}
    done = subprocess.run([sys.executable, "-c", code, str(_gnu_library())], env=environment, capture_output=True, text=True, check=True)
    assert "GOMP_SPINCOUNT = '1000'" in done.stderr
