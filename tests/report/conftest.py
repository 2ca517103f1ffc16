from pathlib import Path

import pytest
from fake_run import make_run

from mcdist.run_dir import RunDir


@pytest.fixture
def fake_run(tmp_path: Path) -> RunDir:
    """A finished, evaluated run."""
    return make_run(tmp_path / "runs" / "animals")
