"""mcdist train."""

import typer

from mcdist.cli.run_arguments import Config, Overrides


def train_command(config: Config, overrides: Overrides = None) -> None:
    """Train CONFIG; the same command continues a stopped run.

    Ctrl-C, SIGTERM and a cluster's notice (SIGUSR1, SIGUSR2) save a checkpoint and leave (exit code 130, 143 and 75). On several devices:
    torchrun --nproc-per-node 2 -m mcdist train CONFIG ...

    Exit codes: 0 trained, 2 configuration, 3 data, 4 checkpoint, 5 loss not finite, 6 package missing, 7 machine,
    8 the run folder is held by another job, 9 replaced by a newer one, 75 start me again.
    """
    from mcdist.config.file import load_config
    from mcdist.config.presets import find_preset

    loaded = load_config(find_preset(config), overrides=overrides)
    from mcdist.run import train_run

    raise typer.Exit(train_run(loaded))
