"""The tutorial on SLURM, done to the letter on a cluster of four nodes."""

import pytest

from tests.docs.tutorial import PAGES, Reader
from tests.servers import starts_a_server
from tests.slurm.lab import Lab

pytestmark = [pytest.mark.slurm, starts_a_server]


def test_the_tutorial_does_what_it_says(lab: Lab) -> None:
    folder = lab.folder / "empty"
    folder.mkdir()
    Reader(folder, command=lab.cluster.command, environment={**lab.cluster.environment}).do(PAGES / "slurm.md")
