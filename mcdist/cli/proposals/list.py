"""mcdist proposals list."""

import typer

from mcdist.errors import ConfigError


def list_command() -> None:
    """Name every method, with its options and their defaults."""
    from mcdist.proposals.registry import names, options_of

    for name, about in names().items():
        try:
            options = " ".join(f"{key}={value}" for key, value in options_of(name).items())
        except (ConfigError, ImportError) as error:
            options = f"not here: {error}"
        typer.echo(f"{name}: {about}")
        if options:
            typer.echo(f"    {options}")
