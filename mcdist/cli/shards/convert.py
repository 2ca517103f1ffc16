"""mcdist shards convert."""

from pathlib import Path
from typing import Annotated

import typer

from mcdist.cli.options import DEFAULT_WORKERS
from mcdist.cli.shards.options import Overwrite, PhotoKept, ShardFormat, Workers


def convert_command(
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

    Example: mcdist shards convert shards/voc shards/voc_ffcv --to ffcv --ffcv-photo raw
    """
    from mcdist.building.convert import convert_shards
    from mcdist.cli.shards.console import print_built
    from mcdist.cli.shards.packing import packing_of
    from mcdist.data.shards.manifest import read_manifest
    from mcdist.report.progress import progress_bar

    packing = packing_of(to, photo=ffcv_photo, lossless=lossless)
    with progress_bar(f"Converting {folder.name}", total=read_manifest(folder).num_samples) as tick:
        built = convert_shards(folder, out=out, packing=packing, lossless=lossless, num_workers=workers, overwrite=overwrite, tick=tick)
    print_built(built)
