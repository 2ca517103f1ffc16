"""Proposing masks: mcdist proposals list|make|self-train."""

from contextlib import ExitStack
from pathlib import Path
from typing import Annotated

import typer

from mcdist.commands.options import DEFAULT_WORKERS, Device, Options, Refine, RefineOption, Workers, read_options, read_part
from mcdist.errors import ConfigError

MethodName = Annotated[str, typer.Argument(metavar="METHOD", help="Which method; see: mcdist proposals list.", show_default=False)]
Photos = Annotated[Path, typer.Argument(metavar="PHOTOS", help="Folder of photos (JPEG, 8-bit PNG), nested or not.", show_default=False)]


def list_command() -> None:
    """Name every method, with its options and their defaults."""
    from mcdist.proposals.registry import names, options_of

    for name, about in names().items():
        try:
            options = " ".join(f"{key}={value}" for key, value in options_of(name).items())
        except (ConfigError, ImportError) as error:
            options = f"not here: {error}"
        typer.echo(f"{name}: {about}")
        if options:
            typer.echo(f"    {options}")


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
    show_proposed(
        photos, out=out, method=method, options=read_options(option), refine=refine, device=device, workers=workers, part=part,
        confidence=confidence, overwrite=overwrite,
    )  # fmt: skip


def self_train_command(
    photos: Photos,
    masks: Annotated[Path, typer.Option("--masks", help="What to learn from: a folder of proposals, of any method.", show_default=False)],
    out: Annotated[Path, typer.Option("--out", help="Folder for the network and its masks (OUT/masks).", show_default=False)],
    rounds: Annotated[int, typer.Option(min=1, help="Each further round learns from what the network of the one before predicts.")] = 1,
    steps: Annotated[int, typer.Option(min=1, help="Optimizer steps of each round, 16 photos each.")] = 200,
    size_px: Annotated[int, typer.Option(help="Photos are squared to this; a multiple of 32.")] = 256,
    backbone: Annotated[str, typer.Option(help="resnet18, resnet50 or efficientnet_lite0.")] = "efficientnet_lite0",
    weights: Annotated[str, typer.Option(help="Of the backbone: a file, or imagenet (packaged for efficientnet_lite0; supervised).")] = "imagenet",
    precision: Annotated[str, typer.Option(help="Of the backbone: fp32, or bf16 where the CPU or GPU is fast in it.")] = "fp32",
    seed: Annotated[int, typer.Option(help="Another seed, another network.")] = 0,
    workers: Workers = DEFAULT_WORKERS,
    device: Device = "cpu",
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Begin again, whatever is in --out.")] = False,
) -> None:
    """Learn a small saliency network from the masks of PHOTOS and propose cleaner ones. A run that was stopped goes on when the command is given again.

    The network is then a method for any photos: mcdist proposals make self_trained PHOTOS --option network=OUT/network.safetensors --out DIR
    """
    from mcdist.proposals.self_training.self_train import SelfTraining, self_train

    settings = SelfTraining(backbone=backbone, weights=weights, precision=precision, size_px=size_px, num_rounds=rounds, num_steps=steps, seed=seed)
    done = self_train(photos, masks=masks, out=out, settings=settings, device=device, num_workers=workers, overwrite=overwrite, say=typer.echo)
    typer.echo(f"network: {done.network}")
    typer.echo(f"masks: {done.masks.folder.root}, {done.masks.summary.num_photos:,} photos, {done.masks.summary.mean_foreground_share:.1%} of the area")


def show_proposed(
    photos: Path,
    *,
    out: Path,
    method: str,
    options: dict[str, str],
    refine: str,
    device: str,
    workers: int,
    part: str = "1/1",
    confidence: Path | None = None,
    overwrite: bool = False,
) -> None:
    """Make the proposals with a progress bar, then print what became of the photos."""
    from mcdist.proposals.folder.propose_folder import propose_folder
    from mcdist.report.progress import LINE_EVERY_S, progress_bar

    number, num_parts = read_part(part)
    with ExitStack() as stack:
        advance = [lambda _: None]

        def begin(total: int) -> None:
            advance[0] = stack.enter_context(progress_bar(f"Proposing ({method})", total=total, line_every_s=LINE_EVERY_S))

        done = propose_folder(
            photos,
            out=out,
            method=method,
            options=options,
            refine=refine,
            device=device,
            num_workers=workers,
            part=number,
            num_parts=num_parts,
            confidence=confidence,
            overwrite=overwrite,
            tick=lambda num: advance[0](num),
            say_total=begin,
        )
    kept = f", {done.num_kept:,} kept from an earlier run" if done.num_kept else ""
    speed = f", {done.num_made / done.wall_s:,.3g} photos/s" if done.num_made else ""
    typer.echo(f"{out}: {done.summary.num_photos:,} photos, {done.num_made:,} of them now in {done.wall_s:.1f} s{speed}{kept}")
    for what, count in {**done.summary.outcomes, **{f"note: {note}": count for note, count in done.summary.notes.items()}}.items():
        typer.echo(f"  {what}: {count:,}")
    if not done.complete:
        typer.echo(f"  other parts of {num_parts} are not done yet; the last to finish writes {done.folder.manifest}")
