"""Progress of a benchmark: lines on the error stream, each with the seconds since the process began. Standard output has the finished tables alone."""

import time

import typer

_BEGAN_S = time.monotonic()


def say(text: str) -> None:
    """One line, at once."""
    typer.echo(f"{time.monotonic() - _BEGAN_S:6.1f} s  {text}", err=True)
