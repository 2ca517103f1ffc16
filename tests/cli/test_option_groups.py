"""Option groups: a dataclass as an argument becomes its fields on the command line, and arrives as the dataclass."""

from dataclasses import dataclass, fields
from pathlib import Path
from typing import Annotated

import typer
from typer.testing import CliRunner

from mcdist.cli.launch import ClusterOptions
from mcdist.cli.option_groups import spread
from mcdist.launch.cluster import Cluster


@dataclass(frozen=True, slots=True)
class Output:
    out: Annotated[Path, typer.Option("--out", help="Where to.")]
    overwrite: Annotated[bool, typer.Option("--overwrite")] = False


got: list[tuple[str, int, Output]] = []
app = typer.Typer(add_completion=False)


@app.command()
@spread
def make(name: str, number: Annotated[int, typer.Option(help="How many.")] = 3, *, output: Output) -> None:
    """Make something."""
    got.append((name, number, output))


def test_the_fields_are_options_and_arrive_as_the_dataclass() -> None:
    got.clear()
    assert CliRunner().invoke(app, ["it", "--out", "there", "--overwrite"]).exit_code == 0
    assert CliRunner().invoke(app, ["it", "--number", "5", "--out", "here"]).exit_code == 0
    assert got == [("it", 3, Output(Path("there"), True)), ("it", 5, Output(Path("here"), False))]


def test_a_field_without_a_default_is_required_and_is_listed_first() -> None:
    refused = CliRunner().invoke(app, ["it"])
    assert refused.exit_code == 2 and "--out" in refused.output
    shown = CliRunner().invoke(app, ["--help"]).output
    assert shown.index("--out") < shown.index("--number") < shown.index("--overwrite")
    assert "Make something." in shown and "Where to." in shown and "--output" not in shown


def test_the_options_of_a_launch_are_the_settings_of_a_cluster() -> None:
    assert [field.name for field in fields(ClusterOptions)] == [field.name for field in fields(Cluster)]
    assert all(field.default is None for field in fields(ClusterOptions)), "what is not given leaves the preset as it is"
