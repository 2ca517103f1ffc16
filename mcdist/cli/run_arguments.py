"""The arguments that commands about runs share, with their help."""

from pathlib import Path
from typing import Annotated

import typer

Config = Annotated[Path, typer.Argument(metavar="CONFIG", help="A YAML file, or a configuration that comes with mcdist: configs/demo.yaml, or demo.")]
Overrides = Annotated[list[str] | None, typer.Argument(metavar="[KEY=VALUE]...", help="Settings over the file's, such as optim.lr=0.01 run.dir=runs/second.")]
RunFolder = Annotated[Path, typer.Argument(metavar="RUN", help="A run's folder, such as runs/demo.")]
