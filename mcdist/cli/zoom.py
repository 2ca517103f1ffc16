"""mcdist zoom: every object of a shard folder, enlarged and seen by a frozen backbone, kept as a feature store."""

from pathlib import Path
from typing import Annotated

import typer

from mcdist.cli.run_arguments import Overrides


def zoom_command(
    source: Annotated[Path, typer.Argument(metavar="CONFIG|RUN", help="A configuration, or a run's folder: which backbone and weights.", show_default=False)],
    overrides: Overrides = None,
    shards: Annotated[str, typer.Option(metavar="DIR", help="Zoom the objects of these shards; default: data.train.")] = "",
    out: Annotated[Path, typer.Option(metavar="DIR", help="Folder of the feature store.", show_default=False)] = ...,  # type: ignore[assignment]
) -> None:
    """Cut out every object, enlarge it, and keep what the frozen backbone says about it at its native stride. Needs no training.

    Each object's vectors have the kinds last (last block), head (last convolution, where the network has one) and zoom (both joined).

    The settings are those of the section groups, such as groups.zoom_views=4. A stopped command goes on where it was.

    On several devices: torchrun --nproc-per-node 2 -m mcdist zoom CONFIG ...

    Example: mcdist zoom demo --shards data/demo/train --out zoomed, then mcdist group zoomed --masks objects --kind zoom
    """
    from mcdist.config.file import load_config, load_run_config
    from mcdist.config.presets import find_preset
    from mcdist.run_dir import RunDir

    run = RunDir(source)
    config = load_run_config(run, overrides=overrides) if run.config.is_file() else load_config(find_preset(source), overrides=overrides)
    from mcdist.passes.zooming import zoom_shards

    store = zoom_shards(config, shards=shards, out=out)
    if store is not None:
        typer.echo(f"{store.folder}: {store.num_photos:,} photos, {store.num_rows('objects'):,} objects, {store.num_bytes / 2**20:,.1f} MiB")
