"""A build of shards over the tasks of a job array: byte for byte what one build makes, and a task that failed is run again alone."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.servers import starts_a_server
from tests.slurm.lab import ROOT, Lab

pytestmark = [pytest.mark.slurm, starts_a_server]

BUILDER = ["demo", "--num-train", "24", "--num-val", "4", "--size-px", "32", "--shard-size", "4", "--workers", "1"]


def _files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_build_over_three_tasks_of_which_one_fails_comes_out_as_one_build(lab: Lab) -> None:
    command = [sys.executable, "-m", "shards", "build", *BUILDER, "--out", str(lab.folder / "whole")]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True, timeout=300)
    said = lab.launch("--array", "3", "--wait", "--", "shards", "build", *BUILDER, "--out", str(lab.folder / "parts"), train=False, fault="part:3/3").stdout
    assert said.count("COMPLETED") == 3, said
    assert _files(lab.folder / "parts") == _files(lab.folder / "whole")
    job_id = said.split("submitted job ")[1].split()[0]
    assert [lab.restarts(f"{job_id}_{element}") for element in range(3)] == [0, 0, 1], "the last element, whose number is the array's"


def test_a_wrong_command_is_not_tried_again(lab: Lab) -> None:
    done = lab.launch("--array", "2", "--wait", "--", "shards", "build", "demo", "--out", str(lab.folder / "x"), "--colour", "red", train=False, check=False)
    assert done.returncode == 1 and done.stdout.count("FAILED") == 2, done.stdout
