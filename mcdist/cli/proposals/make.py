"""mcdist proposals make."""

from pathlib import Path
from typing import Annotated

import typer

from mcdist.cli.options import DEFAULT_WORKERS, Device, Options, Photos, Refine, RefineOption, Workers, read_options

MethodName = Annotated[str, typer.Argument(metavar="METHOD", help="Which method; see: mcdist proposals list.", show_default=False)]


def make_command(
    method: MethodName,
    photos: Photos,
    out: Annotated[Path, typer.Option("--out", help="Folder for the masks: one PNG under each photo's own path.", show_default=False)],
    workers: Workers = DEFAULT_WORKERS,
    device: Device = "cpu",
    option: Options = None,
    refine: RefineOption = Refine.none,
    part: Annotated[str, typer.Option(metavar="K/N", help="Only part K of N, for an array of jobs; the last one to finish completes the folder.")] = "1/1",
    confidence: Annotated[Path | None, typer.Option(metavar="DIR", help="Also write the confidence maps: 8-bit grey PNGs, 255 is certain.")] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the proposals already in --out.")] = False,
) -> None:
    """Propose masks for every photo below PHOTOS. A run that was stopped goes on when the same command is given again.

    A photo that cannot take part is counted and listed with its reason in OUT/proposals.json, and stops nothing.

    Example: mcdist proposals make files photos --option masks=saliency --out masks
    """
    from mcdist.cli.proposals.show import show_proposed

    show_proposed(
        photos, out=out, method=method, options=read_options(option), refine=refine, device=device, workers=workers, part=part,
        confidence=confidence, overwrite=overwrite,
    )  # fmt: skip
