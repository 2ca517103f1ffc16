"""The shim counts the calls that change files below a folder, and strikes the one that it was told to."""

import errno
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.chaos.shim import Action, Plan, build_shim

WRITER = """
import os, sys
folder = sys.argv[1]
def main():
    os.mkdir(folder + "/made")                                  # 1
    file = os.open(folder + "/made/a", os.O_WRONLY | os.O_CREAT)  # 2
    os.write(file, b"12345678")                                 # 3
    os.fsync(file)                                              # 4
    os.rename(folder + "/made/a", folder + "/made/b")           # 5
    os.close(os.open(folder + "/made/b", os.O_RDONLY))
    os.unlink(folder + "/made/b")                               # 6
    with open(sys.argv[2], "w") as elsewhere:
        elsewhere.write("x")
try:
    main()
except OSError as error:
    print(error.errno)
"""


@pytest.fixture(scope="module")
def shim(tmp_path_factory: pytest.TempPathFactory) -> Path:
    if not shutil.which("cc"):
        pytest.skip("the shim needs a C compiler")
    return build_shim(tmp_path_factory.mktemp("shim"))


def _write(folder: Path, plan: Plan, shim: Path) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"LD_PRELOAD": str(shim), "CHAOS_PLAN": str(plan.path)}
    arguments = [sys.executable, "-S", "-c", WRITER, str(folder), str(folder.parent / "elsewhere")]
    return subprocess.run(arguments, env=environment, capture_output=True, text=True, check=False)


def _armed(tmp_path: Path, **given: int) -> tuple[Path, Plan]:
    folder, plan = tmp_path / "folder", Plan(tmp_path / "plan")
    folder.mkdir()
    plan.arm(folder, **given)  # type: ignore[arg-type]
    return folder, plan


def test_it_counts_what_changes_the_folder_and_nothing_else(tmp_path: Path, shim: Path) -> None:
    folder, plan = _armed(tmp_path)
    assert _write(folder, plan, shim).returncode == 0
    assert (plan.num_seen, plan.num_fired) == (6, 0)


@pytest.mark.parametrize(("action", "content"), [(Action.KILL_BEFORE, b""), (Action.KILL_HALFWAY, b"1234"), (Action.KILL_AFTER, b"12345678")])
def test_it_kills_before_in_the_middle_of_and_after_a_write(tmp_path: Path, shim: Path, action: Action, content: bytes) -> None:
    folder, plan = _armed(tmp_path, action=action, at=3)
    assert _write(folder, plan, shim).returncode == -9
    assert (folder / "made/a").read_bytes() == content
    assert (plan.num_seen, plan.num_fired) == (3, 1)


@pytest.mark.parametrize(("action", "at", "error"), [(Action.FAIL_ONCE, 4, errno.EIO), (Action.FAIL_ON, 2, errno.ENOSPC), (Action.FAIL_ON, 5, errno.EROFS)])
def test_it_refuses_a_call_as_a_disk_does(tmp_path: Path, shim: Path, action: Action, at: int, error: int) -> None:
    folder, plan = _armed(tmp_path, action=action, at=at, error=error)
    assert _write(folder, plan, shim).stdout == f"{error}\n"
    assert (plan.num_seen, plan.num_fired) == (at, 1)


def test_a_full_disk_still_renames_and_removes(tmp_path: Path, shim: Path) -> None:
    folder, plan = _armed(tmp_path, action=Action.FAIL_ON, at=5, error=errno.ENOSPC)
    assert _write(folder, plan, shim).stdout == ""
    assert not (folder / "made/b").exists()
