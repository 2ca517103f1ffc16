"""The command line of proposals: mcdist proposals list|make|self-train|evaluate."""

import typer

from mcdist.cli.proposals.evaluate import evaluate_command
from mcdist.cli.proposals.list import list_command
from mcdist.cli.proposals.make import make_command
from mcdist.cli.proposals.self_train import self_train_command
from mcdist.machine.allocator import keep_freed_memory

proposals = typer.Typer(no_args_is_help=True, help="Propose object masks for photos without any label, and judge them.")


@proposals.callback()
def begin() -> None:
    """What all of these commands begin with: no run's configuration chooses the allocator."""
    keep_freed_memory()


proposals.command("list")(list_command)
proposals.command("make")(make_command)
proposals.command("self-train")(self_train_command)
proposals.command("evaluate")(evaluate_command)
