"""What every test of shards uses: the command line, and a small sound data set."""

from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from mcdist.cli.main import app
from tests.building.made_pictures import save_mask, save_photo


@pytest.fixture
def run() -> Callable[..., Result]:
    """`run("build", "folder", ...)`: the result of mcdist shards. No exception may come out of it but its exit."""

    def call(*arguments: object) -> Result:
        result = CliRunner().invoke(app, ["shards", *(str(argument) for argument in arguments)])
        assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
        assert "Traceback" not in result.output
        return result

    return call


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """A folder of six 48 x 32 photos with a mask each in `masks/` beside it, all sound."""
    for number in range(6):
        save_photo(tmp_path / "photos" / f"p{number}.jpg", seed=number)
        save_mask(tmp_path / "masks" / f"p{number}.png")
    return tmp_path / "photos"
