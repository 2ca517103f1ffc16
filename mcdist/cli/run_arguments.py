"""The arguments that commands about runs share, with their help."""

from pathlib import Path
from typing import Annotated

import typer


def _given_once(overrides: list[str] | None) -> list[str] | None:
    if overrides and len(overrides) > 1:
        from mcdist.config.file import require_given_once

        require_given_once(overrides)
    return overrides


Config = Annotated[Path, typer.Argument(metavar="CONFIG", help="A YAML file, or a configuration that comes with mcdist: configs/demo.yaml, or demo.")]
Overrides = Annotated[
    list[str] | None,
    typer.Argument(metavar="[KEY=VALUE]...", help="Settings over the file's, such as optim.lr=0.01 run.dir=runs/second.", callback=_given_once),
]
RunFolder = Annotated[Path, typer.Argument(metavar="RUN", help="A run's folder, such as runs/demo.")]
