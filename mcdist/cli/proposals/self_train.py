"""mcdist proposals self-train."""

from pathlib import Path
from typing import Annotated

import typer

from mcdist.cli.options import DEFAULT_WORKERS, Device, Photos, Workers


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
