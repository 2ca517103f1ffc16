"""What the tests of proposals share: the command line, and a method of another package."""

from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from mcdist.cli.main import app


@pytest.fixture
def run() -> Callable[..., Result]:
    """`run("make", ...)`: the result of mcdist proposals."""

    def call(*arguments: object) -> Result:
        return CliRunner().invoke(app, ["proposals", *(str(argument) for argument in arguments)])

    return call


@pytest.fixture
def other_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder on the import path that declares `red` of slow_method.py as an entry point, as an installed package would."""
    site = tmp_path / "site"
    facts = site / "other_proposals-1.0.dist-info"
    facts.mkdir(parents=True)
    (facts / "METADATA").write_text("Metadata-Version: 2.1\nName: other-proposals\nVersion: 1.0\n")
    (facts / "entry_points.txt").write_text("[mcdist.proposals]\nred = slow_method:make\n")
    (site / "slow_method.py").write_text((Path(__file__).parent / "slow_method.py").read_text())
    monkeypatch.syspath_prepend(str(site))
    return site
