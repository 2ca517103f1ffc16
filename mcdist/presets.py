"""Presets: where the configurations that come with mcdist are, in a clone and in an installed package."""

from pathlib import Path

_HERE = Path(__file__).resolve().parent


def presets_folder() -> Path:
    """The folder of `demo.yaml` and its neighbours: `configs/` beside the package in a clone, `mcdist/configs/` inside an installed one."""
    inside = _HERE / "configs"
    return inside if inside.is_dir() else _HERE.parent / "configs"
