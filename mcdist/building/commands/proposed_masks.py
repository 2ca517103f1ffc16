"""Masks that are not there yet: with --proposals they are made first, beside the shards."""

from pathlib import Path
from typing import Annotated

import typer

from mcdist.building.commands.builder import Building
from mcdist.commands.options import Refine, read_options
from mcdist.commands.propose import show_proposed
from mcdist.errors import ConfigError

Masks = Annotated[Path | None, typer.Option(help="Folder of masks: the photo's path with .png. With --proposals: where the masks are kept.")]
Proposals = Annotated[
    str | None,
    typer.Option("--proposals", metavar="METHOD", help="Make the masks first, by this method (mcdist proposals list), in OUT_masks unless --masks says where."),
]


def masks_for(photos: Path, *, masks: Path | None, building: Building, proposals: str | None, option: list[str] | None, refine: Refine, device: str) -> Path:
    """The folder of masks, made first where a method was named. A run that was stopped goes on.

    Raises:
        ConfigError: neither masks nor a method, or options of a method that was not named.
        Others as `propose_folder`.
    """
    if proposals is None:
        if masks is None:
            raise ConfigError("expected --masks DIR, or --proposals METHOD to make the masks first (mcdist proposals list); got neither")
        if option or refine is not Refine.none:
            raise ConfigError("--option and --refine are for --proposals METHOD, which was not given; name the method or leave them out")
        return masks
    folder = masks or building.out.with_name(f"{building.out.name}_masks")
    show_proposed(
        photos,
        out=folder,
        method=proposals,
        options=read_options(option),
        refine=refine,
        device=device,
        workers=building.workers,
        overwrite=building.overwrite,
    )
    return folder
