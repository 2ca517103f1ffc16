"""A build that is killed outright goes on and ends in the same bytes."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.building.made_coco import make_coco, write_coco

ROOT = Path(__file__).parents[3]
DEADLINE_S = 120


def command(root: Path, out: str) -> list[str]:
    options = ["--images", "images", "--annotations", "instances.json", "--out", out, "--shard-size", "4", "--workers", "2"]
    return [sys.executable, str(ROOT / "shards" / "coco.py"), *options]


def descendants(pid: int) -> list[int]:
    """Processes below `pid`, from /proc."""
    try:
        children = [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except OSError:
        return []
    return [found for child in children for found in (child, *descendants(child))]


def wait_for(condition, what: str) -> None:
    end = time.monotonic() + DEADLINE_S
    while not condition():
        assert time.monotonic() < end, f"waited {DEADLINE_S} s for {what}"
        time.sleep(0.01)


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="processes are counted in /proc")
def test_a_build_killed_in_the_middle_resumes_to_the_same_bytes_and_leaves_no_worker(tmp_path: Path) -> None:
    write_coco(tmp_path, make_coco(tmp_path, num=600))
    process = subprocess.Popen(command(tmp_path, "killed"), cwd=tmp_path, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    wait_for(lambda: len(list((tmp_path / "killed").glob(".shard-*.json"))) >= 3, "three finished shards")
    workers = descendants(process.pid)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    assert not (tmp_path / "killed" / "manifest.json").exists()
    wait_for(lambda: not any(Path(f"/proc/{worker}").is_dir() for worker in workers), "the workers to end")
    resumed = subprocess.run(command(tmp_path, "killed"), cwd=tmp_path, capture_output=True, text=True, check=True)
    assert "shards kept from an earlier run" in resumed.stdout
    subprocess.run(command(tmp_path, "whole"), cwd=tmp_path, check=True, capture_output=True)
    killed, whole = ({file.name: file.read_bytes() for file in (tmp_path / out).iterdir()} for out in ("killed", "whole"))
    assert killed == whole and len(whole) == 301
