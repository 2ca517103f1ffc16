"""An export of each format, made once."""

from collections.abc import Callable
from pathlib import Path

import pytest

from mcdist.dataset.labels import LabelRule
from mcdist.workflows.dataset_export import export_dataset
from tests.makers.made_segments import made_segments

Exports = Callable[[str], Path]


@pytest.fixture(scope="session")
def segmented(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """(photos, segments) of `made_segments`."""
    return made_segments(tmp_path_factory.mktemp("made"))


@pytest.fixture(scope="session")
def exports(segmented: tuple[Path, Path], tmp_path_factory: pytest.TempPathFactory) -> Exports:
    """The folder of an export in a format, with a confidence of 0.5 at least."""
    made: dict[str, Path] = {}

    def export(format: str) -> Path:
        if format not in made:
            out = tmp_path_factory.mktemp("exports") / format
            made[format] = export_dataset(segmented[1], format=format, out=out, rule=LabelRule(0.5), val_share=0.4).folder
        return made[format]

    return export
