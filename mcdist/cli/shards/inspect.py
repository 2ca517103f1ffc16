"""mcdist shards inspect."""

from pathlib import Path
from typing import Annotated

import typer

from mcdist.errors import ConfigError

NUM_LOOKED_AT = 500


def inspect_command(
    folder: Annotated[Path, typer.Argument(help="Shard folder.", show_default=False)],
    sheet: Annotated[
        Path | None, typer.Option(metavar="FILE.png", help="Where to write the contact sheet; default: FOLDER-sheet.png beside the folder.")
    ] = None,
    num: Annotated[int, typer.Option(min=1, help="Photos on the contact sheet.")] = 24,
) -> None:
    """Show what a shard folder holds: a table, and a contact sheet of photos with their masks."""
    from mcdist.building.overview import overview_of, spread_samples, table_of
    from mcdist.data.readers.open import open_shards
    from mcdist.report.console import show
    from mcdist.report.pictures.contact_sheet import Tile, write_contact_sheet

    reader = open_shards(folder)
    show(table_of(overview_of(reader, folder=folder, num=NUM_LOOKED_AT)), wrap=False)
    path = sheet or folder.resolve().with_name(f"{folder.resolve().name}-sheet.png")
    if path.suffix.lower() != ".png":
        raise ConfigError(f"--sheet must end in .png, got {path}; rename it")
    samples = spread_samples(reader, num=num)
    write_contact_sheet([Tile(sample.photo.permute(1, 2, 0).numpy(), sample.instances.numpy(), sample.key) for sample in samples], path=path)
    typer.echo(f"contact sheet: {path}")
