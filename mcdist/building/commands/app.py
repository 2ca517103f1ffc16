"""The command line: python -m shards build|convert|verify|inspect."""

from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from typer.core import TyperGroup

from mcdist.building.commands.build import build
from mcdist.building.commands.console import print_built
from mcdist.building.commands.formats import PhotoKept, ShardFormat, packing_of
from mcdist.building.commands.options import DEFAULT_WORKERS, Overwrite, Workers
from mcdist.building.convert import convert_shards
from mcdist.building.overview import overview_of, spread_samples, table_of
from mcdist.building.verify import verify_shards
from mcdist.data.readers.open import open_shards
from mcdist.data.shards.manifest import read_manifest
from mcdist.errors import ConfigError, McdistError, ShardError
from mcdist.report.contact_sheet import Tile, write_contact_sheet
from mcdist.report.progress import progress_bar

NUM_LOOKED_AT = 500
SHOWN_PROBLEMS = 20


class PlainErrors(TyperGroup):
    """Every error a user can cause ends in one sentence on the error stream and its exit code, never in a stack trace."""

    def invoke(self, ctx: Any) -> Any:
        """Run the command; see the class."""
        try:
            return super().invoke(ctx)
        except McdistError as error:
            typer.echo(f"error: {error}", err=True)
            raise typer.Exit(error.exit_code) from error


app = typer.Typer(
    cls=PlainErrors,
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    help="Photos with object masks become shards: tars that training reads fast, with a manifest that says what lies where.",
)
app.add_typer(build, name="build")


@app.command("convert")
def convert(
    folder: Annotated[Path, typer.Argument(metavar="IN", help="Shard folder.", show_default=False)],
    out: Annotated[Path, typer.Argument(metavar="OUT", help="Folder to write the shards to.", show_default=False)],
    to: Annotated[ShardFormat, typer.Option(help="The format of OUT.", show_default=False)],
    ffcv_photo: PhotoKept = None,
    lossless: Annotated[
        bool, typer.Option("--lossless", help="Keep every photo's own bytes, beside its pixels too; back to tars, refuse a photo that has lost them.")
    ] = False,
    workers: Workers = DEFAULT_WORKERS,
    overwrite: Overwrite = False,
) -> None:
    """Write a shard folder in the other format: the same shards, samples, order and members.

    Photos kept as pixels alone (--ffcv-photo raw without --lossless) are one way: back in tars they are PNGs of the same pixels.

    Example: python -m shards convert shards/voc shards/voc_ffcv --to ffcv --ffcv-photo raw
    """
    packing = packing_of(to, photo=ffcv_photo, lossless=lossless)
    with progress_bar(f"Converting {folder.name}", total=read_manifest(folder).num_samples) as tick:
        built = convert_shards(folder, out=out, packing=packing, lossless=lossless, num_workers=workers, overwrite=overwrite, tick=tick)
    print_built(built)


@app.command("verify")
def verify(folder: Annotated[Path, typer.Argument(help="Shard folder.", show_default=False)]) -> None:
    """Read every byte of a shard folder again and compare it with its manifest; exit code 3 where it is damaged."""
    with progress_bar("Verifying", total=read_manifest(folder).num_samples) as tick:
        verified = verify_shards(folder, tick=tick)
    counts = f"{verified.num_shards} shards, {verified.num_samples:,} photos, {verified.num_members:,} members, {verified.num_bytes / 1e6:,.1f} MB"
    if not verified.problems:
        typer.echo(f"{folder} is sound: {counts}.")
        return
    typer.echo(f"{folder}: {counts}; {len(verified.problems)} problems:")
    for problem in verified.problems[:SHOWN_PROBLEMS]:
        typer.echo(f"  {problem}")
    raise ShardError(
        f"expected {folder} to be as its manifest says, found {len(verified.problems)} problems; build it again with --overwrite, or copy it again"
    )


@app.command("inspect")
def inspect(
    folder: Annotated[Path, typer.Argument(help="Shard folder.", show_default=False)],
    sheet: Annotated[Path | None, typer.Option(metavar="FILE.png", help="Where the contact sheet goes; default: FOLDER-sheet.png beside the folder.")] = None,
    num: Annotated[int, typer.Option(min=1, help="Photos on the contact sheet.")] = 24,
) -> None:
    """Show what a shard folder holds: a table, and a contact sheet of photos with their masks."""
    reader = open_shards(folder)
    Console().print(table_of(overview_of(reader, folder=folder, num=NUM_LOOKED_AT)), soft_wrap=True, highlight=False, markup=False)
    path = sheet or folder.resolve().with_name(f"{folder.resolve().name}-sheet.png")
    if path.suffix.lower() != ".png":
        raise ConfigError(f"--sheet wants a file that ends in .png, got {path}; rename it")
    samples = spread_samples(reader, num=num)
    write_contact_sheet([Tile(sample.photo.permute(1, 2, 0).numpy(), sample.instances.numpy(), sample.key) for sample in samples], path=path)
    typer.echo(f"contact sheet: {path}")


def main() -> None:
    """Run the command line."""
    app(prog_name="python -m shards")


if __name__ == "__main__":
    main()
