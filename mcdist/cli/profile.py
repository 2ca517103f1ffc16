"""mcdist profile: where the time of a training step goes."""

from pathlib import Path
from typing import Annotated

import typer

from mcdist.cli.run_arguments import Config, Overrides


def profile_command(
    config: Config,
    overrides: Overrides = None,
    steps: Annotated[int, typer.Option(min=1, help="Whole steps to time, and as many more part by part.")] = 10,
    json: Annotated[Path | None, typer.Option(metavar="FILE", help="Write every number to this file.")] = None,
    picture: Annotated[Path | None, typer.Option(metavar="FILE", help="Draw the parts as SVG into this file.")] = None,
) -> None:
    """Time the parts of a training step of CONFIG on this machine: data, encoders, pooling, each term of the loss, optimizer.

    It trains on the run's own photos, masks and settings and forgets the weights. Groups and cached views are made first if the settings ask for them, and
    stay in the run's folder for the training. Several devices: torchrun --nproc-per-node 2 -m mcdist profile CONFIG

    Example: mcdist profile demo --picture profile.svg
    """
    from mcdist.config.file import load_config
    from mcdist.config.presets import find_preset
    from mcdist.run_dir import write_atomically

    loaded = load_config(find_preset(config), overrides=overrides)
    from mcdist.report.console import show
    from mcdist.report.pictures.step_profile import step_profile_svg
    from mcdist.report.profile_table import profile_table
    from mcdist.workflows.profiling import profile_training

    profile = profile_training(loaded, num_steps=steps)
    if profile is None:
        return
    show(profile_table(profile))
    for path, content in ((json, profile.to_json()), (picture, step_profile_svg(profile))):
        if path is not None:
            write_atomically(path, content.encode())
            typer.echo(path)
