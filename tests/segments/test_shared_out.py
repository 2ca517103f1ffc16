"""Segmenting under several ranks, and killed outright: the files are those of one process that was left alone."""

import subprocess
import sys
from pathlib import Path

import pytest

from mcdist.run_dir import RunDir
from mcdist.workflows.segmenting import segment_run
from tests.makers.many_ranks import on_ranks

pytestmark = pytest.mark.slow


def files_of(out: Path) -> dict[str, bytes]:
    return {str(path.relative_to(out)): path.read_bytes() for path in sorted(out.rglob("*")) if path.is_file() and not path.name.startswith("not_segmented")}


@pytest.fixture(scope="module")
def alone(run_dir: RunDir, photos: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    out = tmp_path_factory.mktemp("alone") / "out"
    segment_run(run_dir, [photos], out=out, device="cpu", num_workers=0)
    return files_of(out)


def _rank(rank: int, root: Path, photos: Path, out: Path) -> None:
    done = segment_run(RunDir(root), [photos], out=out, device="cpu", num_workers=0).done
    assert 0 < done.num_photos < 12


def test_two_ranks_write_the_files_of_one(run_dir: RunDir, photos: Path, alone: dict[str, bytes], tmp_path: Path) -> None:
    on_ranks(2, _rank, run_dir.root, photos, tmp_path / "out", notes=tmp_path)
    assert files_of(tmp_path / "out") == alone


KILLED = """
import os, signal, sys
from pathlib import Path
from mcdist.run_dir import RunDir
from mcdist.workflows.segmenting import segment_run
from mcdist.segments import out

put, written = out._put, []

def put_and_die(path, content):
    written.append(put(path, content))
    if len(written) == int(sys.argv[4]):
        os.kill(os.getpid(), signal.SIGKILL)

out._put = put_and_die
segment_run(RunDir(Path(sys.argv[1])), [Path(sys.argv[2])], out=Path(sys.argv[3]), device="cpu", num_workers=0)
"""


@pytest.mark.parametrize("after", [1, 14])
def test_a_killed_one_goes_on_and_leaves_the_same_bytes(run_dir: RunDir, photos: Path, alone: dict[str, bytes], tmp_path: Path, after: int) -> None:
    command = [sys.executable, "-c", KILLED, str(run_dir.root), str(photos), str(tmp_path / "out"), str(after)]
    assert subprocess.run(command, timeout=300, capture_output=True, check=False).returncode == -9
    assert segment_run(run_dir, [photos], out=tmp_path / "out", device="cpu", num_workers=0).done.num_made > 0
    left = {name: content for name, content in files_of(tmp_path / "out").items() if not Path(name).name.startswith(".")}
    assert left == alone
