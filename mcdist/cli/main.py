"""The command `mcdist`: its subcommands, one line each. A new one is a module in this folder and a line here.

Modules here import what is slow inside their functions, so that `mcdist --help` answers at once.
"""

import sys
from typing import Any

import typer
from typer.core import TyperGroup

from mcdist.cli.cluster import cluster_command
from mcdist.cli.compare import compare_command
from mcdist.cli.davis import davis_command
from mcdist.cli.demo import demo_command
from mcdist.cli.discover import discover_command
from mcdist.cli.doctor import doctor_command
from mcdist.cli.embed import embed_command
from mcdist.cli.evaluate import evaluate_command
from mcdist.cli.export import export_command
from mcdist.cli.export_dataset import export_dataset_command
from mcdist.cli.finetune import finetune_command
from mcdist.cli.group import group_command
from mcdist.cli.import_weights import import_weights_command
from mcdist.cli.launch import launch_command
from mcdist.cli.profile import profile_command
from mcdist.cli.proposals.app import proposals
from mcdist.cli.protocols import protocols_command
from mcdist.cli.report import report_command
from mcdist.cli.reproduce import reproduce_command
from mcdist.cli.search import search_command
from mcdist.cli.segment import segment_command
from mcdist.cli.shards.app import shards
from mcdist.cli.train import train_command
from mcdist.cli.view import view_command
from mcdist.cli.zoom import zoom_command
from mcdist.errors import in_plain_words
from mcdist.machine.waiting import wait_briefly


class PlainErrors(TyperGroup):
    """Every error a user can cause ends in one sentence on the error stream and its exit code."""

    def invoke(self, ctx: Any) -> Any:
        """Run the command; see the class."""
        with in_plain_words():
            return super().invoke(ctx)


app = typer.Typer(
    name="mcdist",
    cls=PlainErrors,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    help="Learn pixel representations without labels by contrasting object-mask proposals, and see what they name.",
)
app.command("demo")(demo_command)
app.command("discover")(discover_command)
app.add_typer(shards, name="shards")
app.add_typer(proposals, name="proposals")
app.command("train")(train_command)
app.command("profile")(profile_command)
app.command("embed")(embed_command)
app.command("zoom")(zoom_command)
app.command("group")(group_command)
app.command("evaluate")(evaluate_command)
app.command("finetune")(finetune_command)
app.command("cluster")(cluster_command)
app.command("view")(view_command)
app.command("export-dataset")(export_dataset_command)
app.command("segment")(segment_command)
app.command("search")(search_command)
app.command("compare")(compare_command)
app.command("davis")(davis_command)
app.command("protocols")(protocols_command)
app.command("report")(report_command)
app.command("export")(export_command)
app.command("import-weights")(import_weights_command)
app.command("reproduce")(reproduce_command)
app.command("launch")(launch_command)
app.command("doctor")(doctor_command)


def main(arguments: list[str] | None = None) -> None:
    """Run the command line: this process's, or `arguments`. Threads must be told how to wait before any command imports torch."""
    with in_plain_words():
        wait_briefly()
    app(args=sys.argv[1:] if arguments is None else arguments, prog_name="mcdist")
