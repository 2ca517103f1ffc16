"""mcdist discover: from a folder of photos to a run with segment maps, in one command."""

from pathlib import Path
from typing import Annotated

import typer

from mcdist.cli.options import DEFAULT_WORKERS, Device, Photos, Workers
from mcdist.cli.run_arguments import Overrides


def discover_command(
    photos: Photos,
    overrides: Overrides = None,
    *,
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="Folder of everything that is made; it is a run's folder.", show_default=False)],
    minutes: Annotated[
        float | None, typer.Option("--minutes", metavar="N", help="Train as long as fits into N minutes for all stages.", show_default="as configs/photos.yaml")
    ] = None,
    proposals: Annotated[
        str | None, typer.Option("--proposals", metavar="METHOD", help="Proposal method (mcdist proposals list).", show_default="ensemble")
    ] = None,
    workers: Workers = DEFAULT_WORKERS,
    device: Device = "cpu",
    estimate: Annotated[bool, typer.Option("--estimate", help="Say what it will take, measured on a few of the photos, and stop.")] = False,
) -> None:
    """Find what the photos below PHOTOS show, without labels: propose masks, build shards, train, cluster, report, and segment every photo.

    Stopped, it goes on when the same command is given again. Settings are those of the configuration `photos`. Afterwards name the clusters with
    mcdist view DIR, and make a data set with mcdist export-dataset DIR.

    Example: mcdist discover photos --out runs/mine --minutes 15
    """
    from mcdist.workflows.discovery import discover

    code = discover(photos, out=out, minutes=minutes, method=proposals, overrides=overrides or [], num_workers=workers, device=device, estimate_only=estimate)
    if code:
        raise typer.Exit(code)
    if not estimate:
        typer.echo(f"next: mcdist view {out}                          look at the clusters and name them")
        typer.echo(f"      mcdist export-dataset {out} --out dataset   labelled photos, for others' tools")
