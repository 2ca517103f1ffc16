from pathlib import Path

import pytest

from mcdist.run_dir import RunDir
from tests.report.fake_run import make_run


@pytest.fixture
def fake_run(tmp_path: Path) -> RunDir:
    """A finished, evaluated run."""
    return make_run(tmp_path / "runs" / "animals")
