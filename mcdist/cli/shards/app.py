"""The command line of shards: mcdist shards build|convert|verify|inspect."""

import typer

from mcdist.cli.shards.build import build
from mcdist.cli.shards.convert import convert_command
from mcdist.cli.shards.inspect import inspect_command
from mcdist.cli.shards.verify import verify_command
from mcdist.machine.allocator import keep_freed_memory

shards = typer.Typer(
    no_args_is_help=True,
    help="Photos with object masks become shards: tars that training reads fast, with a manifest that lists what they contain.",
)


@shards.callback()
def begin() -> None:
    """What all of these commands begin with: no run's configuration chooses the allocator."""
    keep_freed_memory()


shards.add_typer(build, name="build")
shards.command("convert")(convert_command)
shards.command("verify")(verify_command)
shards.command("inspect")(inspect_command)
