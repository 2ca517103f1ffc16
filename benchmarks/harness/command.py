"""The command line of every benchmark: its own options, `--quick`, and the sentence instead of a traceback.

`--quick` runs the benchmark on little and on inputs that it makes itself, in at most a minute on two cores: it shows that everything works here and
what the rows look like. Its figures are not those of the tables. Each benchmark names the arguments that this stands for; what is typed beside it
comes after them.
"""

import os
import sys
import tempfile
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from pathlib import Path

import typer

from benchmarks.harness.progress import say
from mcdist.errors import in_plain_words
from mcdist.machine.allocator import keep_freed_memory
from mcdist.machine.cores import num_cores
from mcdist.machine.environment import cpu_name

QUICK = "--quick"
EPILOG = f"{QUICK}: run on little, with inputs made here, in at most a minute; no other argument is needed."

QuickArguments = Sequence[str] | Callable[[Path], Sequence[str]]
"""Arguments, or a function that makes them and their inputs in a folder that is removed afterwards."""


def run(command: Callable[..., None], *, quick: QuickArguments | None = None) -> None:
    """`command` as this process's command line; an error a user can cause is one sentence and an exit code. Memory is kept as in every command.

    `quick`: what `--quick` stands for; None for a command that measures nothing and has no such switch.
    """
    app = typer.Typer(add_completion=False)
    app.command(epilog="" if quick is None else EPILOG)(command)
    with in_plain_words():
        keep_freed_memory()
        if quick is None:
            app()
            return
        say(f"{cpu_name()}, {num_cores()} cores, load {os.getloadavg()[0]:.1f}")
        typed = [word for word in sys.argv[1:] if word != QUICK]
        is_quick = QUICK in sys.argv[1:] and "--help" not in typed
        with tempfile.TemporaryDirectory(prefix="mcdist-quick-") if is_quick else nullcontext() as folder:
            if folder is not None:
                typed = [*_arguments(quick, Path(folder)), *typed]
            app(args=typed)


def _arguments(quick: QuickArguments, folder: Path) -> Sequence[str]:
    if not callable(quick):
        return quick
    say("making the inputs")
    return quick(folder)
