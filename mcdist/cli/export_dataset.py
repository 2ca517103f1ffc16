"""mcdist export-dataset."""

from contextlib import ExitStack
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer


class DatasetFormat(StrEnum):
    """What a data set is written as."""

    coco = "coco"
    coco_panoptic = "coco-panoptic"
    voc = "voc"
    yolo_seg = "yolo-seg"
    labelme = "labelme"


class UnnamedClusters(StrEnum):
    """What becomes of clusters without a name."""

    void = "void"
    classes = "classes"


def export_dataset_command(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="A run with segments (mcdist discover), or what mcdist segment wrote.", show_default=False)],
    out: Annotated[
        Path,
        typer.Option(
            "--out",
            help="Folder to write the data set to; an earlier export is replaced, or kept beside if it was changed.",
        ),
    ],
    format: Annotated[DatasetFormat, typer.Option("--format", help="The layout of the data set.")] = DatasetFormat.coco,
    min_confidence: Annotated[float, typer.Option("--min-confidence", min=0, max=1, help="Segments of lower confidence are void.")] = 0.5,
    unnamed: Annotated[UnnamedClusters, typer.Option("--unnamed", help="Clusters without a name: void, or classes of their own.")] = UnnamedClusters.void,
    photos: Annotated[Path | None, typer.Option("--photos", metavar="PHOTOS", help="The segmented folder of photos.", show_default="where it was")] = None,
    run: Annotated[
        Path | None, typer.Option("--run", metavar="RUN", help="Whose names count.", show_default="DIR, or the run that segmented the photos")
    ] = None,
    val_share: Annotated[float, typer.Option("--val-share", min=0, max=1, metavar="SHARE", help="Share of the photos in val.")] = 0.1,
    split_seed: Annotated[int, typer.Option("--split-seed", help="Another seed puts other photos in val.")] = 0,
    keep_empty: Annotated[bool, typer.Option("--keep-empty", help="Also export photos in which nothing has a label.")] = False,
) -> None:
    """Make a data set of a run's segments: photos, labels, and a data card. Names given or changed since the segments were made are applied.

    Example: mcdist export-dataset runs/mine --format coco --out dataset
    """
    from collections.abc import Callable

    from mcdist.dataset.labels import LabelRule
    from mcdist.report.progress import LINE_EVERY_S, progress_bar
    from mcdist.workflows.dataset_export import export_dataset

    with ExitStack() as stack:
        advance: Callable[[int], None] = lambda _: None  # noqa: E731  # until the number of photos is known

        def begin(total: int) -> None:
            nonlocal advance
            advance = stack.enter_context(progress_bar(f"Exporting ({format.value})", total=total, line_every_s=LINE_EVERY_S))

        done = export_dataset(
            folder,
            format=format.value,
            out=out,
            rule=LabelRule(min_confidence, unnamed.value),
            photos=photos,
            run=run,
            val_share=val_share,
            seed=split_seed,
            keep_empty=keep_empty,
            say_total=begin,
            tick=lambda num: advance(num),
            say=typer.echo,
        )
    counts = done.counts
    num_photos = counts.photos.total()
    typer.echo(f"{out}: {num_photos:,} photos ({counts.photos['train']:,} train, {counts.photos['val']:,} val), {counts.segments.total():,} labelled segments")
    for class_id, name in done.classes.items():
        typer.echo(f"  {class_id} {name}: {counts.segments[class_id]:,} segments")
    for reason, num in sorted(counts.void.items()):
        typer.echo(f"  void, {reason}: {num:,} segments")
    if counts.void["low confidence"]:
        typer.echo(f"  the {counts.void['low confidence']:,} of low confidence have a class, but are less sure than {min_confidence:g}: see --min-confidence")
    if counts.left_out and not keep_empty:
        typer.echo(f"  left out: {counts.left_out:,} photos without a labelled segment")
    if counts.not_segmented:
        typer.echo(f"  not segmented: {counts.not_segmented:,} pictures of the folder; for photos that were added since: mcdist segment RUN PHOTOS --out DIR")
    typer.echo(f"how the labels came to be: {out / 'README.md'}")
