"""mcdist davis: label propagation through videos, scored officially."""

from pathlib import Path
from typing import Annotated

import typer

from mcdist.cli.run_arguments import Overrides
from mcdist.errors import ConfigError


def davis_command(
    run: Annotated[Path | None, typer.Argument(metavar="RUN", help="A run's folder, such as runs/demo; none with --backbone.", show_default=False)] = None,
    overrides: Overrides = None,
    data: Annotated[Path, typer.Option(metavar="DIR", help="Videos in DAVIS's layout: JPEGImages, Annotations, ImageSets.", show_default=False)] = ...,  # type: ignore[assignment]
    backbone: Annotated[
        str | None, typer.Option(metavar="NAME[:WEIGHTS]", help="Judge this backbone instead of a run: efficientnet_lite0, or resnet50:FILE.")
    ] = None,
    year: Annotated[int, typer.Option(min=2016, max=2017, help="2016: one object, all that is not 0. 2017: numbered objects, 255 is void.")] = 2017,
    split: Annotated[str, typer.Option(metavar="NAME", help="The list ImageSets/YEAR/NAME.txt.")] = "val",
    protocol: Annotated[str, typer.Option(metavar="NAME", help="davis-propagation, or davis-propagation/dinov3.")] = "davis-propagation",
    checkpoint: Annotated[str, typer.Option(help="newest, best (lowest training loss), or step_NNNNNNNN.")] = "newest",
    out: Annotated[Path | None, typer.Option(metavar="DIR", help="Where masks, scores and overlays go; default: a folder in RUN/davis.")] = None,
    animate: Annotated[int, typer.Option(min=0, help="Draw an overlay animation (WebP) of so many videos.")] = 1,
) -> None:
    """Carry the objects of each video's first frame through the video by the features of RUN or of a backbone, and score that as DAVIS does.

    Beside it: the features before training, and the first frame's labels copied to all frames. A stopped command goes on with the videos that are left;
    on several devices: torchrun --nproc-per-node 2 -m mcdist davis RUN ...

    Example: mcdist davis runs/demo --data data/DAVIS --year 2016
    Example: mcdist davis --backbone efficientnet_lite0 --data data/DAVIS --out davis_start
    """
    from mcdist.model.backbones.registry import name_and_weights
    from mcdist.report.console import show
    from mcdist.report.video_table import video_table
    from mcdist.run_dir import RunDir
    from mcdist.workflows.tracking import Videos, track_backbone, track_run

    videos = Videos(root=data, year=2016 if year == 2016 else 2017, split=split, protocol=protocol, animated=animate)
    if backbone is None:
        if run is None:
            raise ConfigError("mcdist davis needs a run's folder, or --backbone NAME[:WEIGHTS]; got neither")
        tracked = track_run(RunDir(run), videos, overrides=overrides or [], which=checkpoint, out=out)
    else:
        if run is not None or out is None:
            raise ConfigError("--backbone judges a backbone without a run: leave out RUN, and say with --out where the masks go")
        name, weights = name_and_weights(backbone)
        tracked = track_backbone(name, videos, weights=weights, out=out)
    if tracked is None:
        return
    scored = [video for video in tracked.videos if not video.unscored]
    num_frames = sum(video.num_frames for video in scored)
    title = f"{data}, DAVIS {year} {split}: {len(scored)} videos, {num_frames:,} frames, by {protocol}"
    show(video_table(tracked.rows, title=title, caption="All in %. 95 %: bootstrap over videos. Without the first and the last frame of each video."))
    for video in tracked.videos:
        if video.unscored:
            typer.echo(f"without a score: {video.video}, {video.unscored}")
    typer.echo(f"masks and scores: {tracked.folder.root}")
    typer.echo(f"page: {tracked.folder.page}")
