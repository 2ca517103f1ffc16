"""mcdist embed: what a run's encoders say about a set of photos, kept as a feature store."""

from pathlib import Path
from typing import Annotated

import typer

from mcdist.cli.run_arguments import Overrides, RunFolder
from mcdist.run_dir import RunDir


def embed_command(
    run: RunFolder,
    overrides: Overrides = None,
    checkpoint: Annotated[str, typer.Option(help="newest, best (lowest training loss), or step_NNNNNNNN.")] = "newest",
    shards: Annotated[str, typer.Option(metavar="DIR", help="Embed the photos of these shards; default: data.val, else data.train.")] = "",
    out: Annotated[Path | None, typer.Option(metavar="DIR", help="Folder of the feature store; default: one in RUN/features.")] = None,
    patches: Annotated[
        bool, typer.Option("--patches", help="Keep the feature maps too, in fp16. At 512 px a ResNet-50 takes 16 MiB a photo for each backbone.")
    ] = False,
) -> None:
    """Write a feature store: object vectors, masks' areas and boxes, and counts of the ground truth, of every photo once.

    mcdist evaluate uses it where it fits. A stopped command goes on where it was; on several devices: torchrun --nproc-per-node 2 -m mcdist embed RUN ...
    """
    from mcdist.passes.extraction import embed_run
    from mcdist.records.names import MASKS

    store = embed_run(RunDir(run), overrides=overrides or [], which=checkpoint, shards=shards, out=out, patches=patches)
    if store is not None:
        objects = ", ".join(f"{store.num_rows(table):,} {table}" for table in MASKS if table in store.tables)
        typer.echo(f"{store.folder}: {store.num_photos:,} photos, objects: {objects}, {store.num_bytes / 2**20:,.1f} MiB")
