"""Presets: the configurations that come with mcdist, in a clone and in an installed package."""

from pathlib import Path

from mcdist.choices import did_you_mean
from mcdist.errors import ConfigError

PAPER = "paper"
"""The folder of the paper's own configurations, among the presets."""

_HERE = Path(__file__).resolve().parent.parent


def presets_folder() -> Path:
    """The folder of `demo.yaml` and its neighbours: `mcdist/configs/` in an installed package, `configs/` beside `mcdist/` in a clone."""
    inside = _HERE / "configs"
    return inside if inside.is_dir() else _HERE.parent / "configs"


def find_preset(config: Path) -> Path:
    """The file `config` names: itself where it exists, else the preset of that name (`configs/demo.yaml`, `demo.yaml` or `demo`; `paper/NAME` for the paper's).

    Raises:
        ConfigError: there is neither.
    """
    if config.exists() and not config.is_dir():
        return config
    folder = presets_folder()
    below = {Path(): folder, Path("configs"): folder, Path("paper"): folder / PAPER, Path("configs/paper"): folder / PAPER}.get(config.parent)
    if below is not None and config.suffix in ("", ".yaml"):
        preset = below / f"{config.stem}.yaml"
        if preset.is_file():
            return preset
    known = sorted(path.stem for path in folder.glob("*.yaml"))
    raise ConfigError(
        f"cannot read the configuration {config}: there is no such file, and no preset of that name; "
        f"{did_you_mean(config.stem, known)}presets: {', '.join(known)} (in {folder})"
    )
