"""mcdist segment: a segment map, an overlay and the segments' facts for every photo."""

from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Annotated

import typer

from mcdist.cli.options import read_part
from mcdist.cli.run_arguments import RunFolder
from mcdist.run_dir import RunDir

SHOWN_REASONS = 5


def segment_command(
    run: RunFolder,
    photos: Annotated[list[Path], typer.Argument(metavar="PHOTOS...", help="Photos, or folders of them, nested or not.", show_default=False)],
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="Folder for maps, overlays and segments.", show_default=False)],
    window: Annotated[
        int, typer.Option(metavar="PX", help="See photos with a longer side through overlapping windows of PX pixels; 0: each photo whole, as the catalogue's.")
    ] = 0,
    video: Annotated[
        bool, typer.Option("--video", help="Each folder's photos are frames of a video, in the order of their names; labels are kept steady.")
    ] = False,
    overlays: Annotated[bool, typer.Option("--overlays/--no-overlays", help="Draw the segments over each photo.")] = True,
    checkpoint: Annotated[str, typer.Option(help="Must be the catalogue's; default: that one.", show_default=False)] = "",
    device: Annotated[str, typer.Option(help="auto, cpu or cuda.")] = "auto",
    workers: Annotated[int | None, typer.Option(min=0, help="Processes that decode; default: 1, more beside a GPU.", show_default=False)] = None,
    part: Annotated[str, typer.Option(metavar="K/N", help="Only part K of N, for an array of jobs.")] = "1/1",
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace segments of another catalogue or window in --out.")] = False,
) -> None:
    """Write the segments of every photo: a map of class ids, an overlay, and JSON with masks, classes, confidences and vectors.

    RUN needs a catalogue (mcdist cluster RUN); classes have the names that a person gave its clusters. A stopped command goes on where it was.
    On several devices: torchrun --nproc-per-node 2 -m mcdist segment RUN PHOTOS --out DIR

    Example: mcdist segment runs/demo data/photos --out segments
    """
    from mcdist.report.progress import LINE_EVERY_S, progress_bar
    from mcdist.workflows.segmenting import segment_run

    number, num_parts = read_part(part)
    with ExitStack() as stack:
        advance: Callable[[int], None] | None = None

        def begin(total: int) -> None:
            nonlocal advance
            advance = stack.enter_context(progress_bar("Segmenting", total=total, line_every_s=LINE_EVERY_S))

        def tick(num: int) -> None:
            assert advance is not None, "the number of photos is known before the first is done"
            advance(num)

        segmented = segment_run(
            RunDir(run), photos, out=out, checkpoint=checkpoint, window_px=window, video=video, overlays=overlays, device=device, num_workers=workers,
            part=number, num_parts=num_parts, overwrite=overwrite, say_total=begin, tick=tick,
        )  # fmt: skip
    done = segmented.done
    kept = f", {done.num_kept:,} kept from an earlier run" if done.num_kept else ""
    speed = f", {done.num_made / segmented.wall_s:,.3g} photos/s" if done.num_made else ""
    typer.echo(
        f"{out}: {done.num_photos:,} photos, {done.num_made:,} of them now in {segmented.wall_s:.1f} s{speed}{kept}; "
        f"{done.num_segments:,} segments, {segmented.num_classes:,} classes"
    )
    for photo, reason in sorted(done.reasons.items())[:SHOWN_REASONS]:
        typer.echo(f"  not segmented: {photo} {reason}")
    if segmented.not_segmented is not None:
        typer.echo(f"  not segmented: {len(done.reasons):,} photos, listed in {segmented.not_segmented}")
