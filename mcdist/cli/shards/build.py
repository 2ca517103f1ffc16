"""The builders' command lines: mcdist shards build voc|coco|folder|tree|tar|demo."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from mcdist.building.sources.coco.labels import Labels
from mcdist.cli.option_groups import spread
from mcdist.cli.options import DEFAULT_WORKERS, read_part
from mcdist.cli.shards.options import BuildOptions, Format, MaskOptions, Out, Overwrite, PhotoKept, ShardFormat, ShardSize, Workers, part_to_build

build = typer.Typer(
    no_args_is_help=True,
    help="Build a shard folder. A build that was stopped goes on when the same command is given again. The same input always gives the same bytes.",
)


@build.callback()
def choose_part(
    part: Annotated[
        str, typer.Option("--part", metavar="K/N", help="Before the builder's name: build only part K of N, as a task of a job array. The last one completes.")
    ] = "1/1",
) -> None:
    """Build a shard folder. A build that was stopped goes on when the same command is given again. The same input always gives the same bytes."""
    part_to_build.set(read_part(part))


Labelled = Annotated[Path | None, typer.Option(help="Folder of ground truth: the photo's path with .png, class ids, 255 void.")]


class Part(StrEnum):
    """A side of --hold-out."""

    train = "train"
    held_out = "held-out"


@build.command("voc")
@spread
def build_voc(
    root: Annotated[Path, typer.Argument(help="Folder that holds VOCdevkit, or is VOC2012.", show_default=False)],
    split: Annotated[str, typer.Option(help="List of ids: ImageSets/Segmentation/SPLIT.txt.")] = "trainaug",
    proposals: Annotated[str, typer.Option(help="Folder of masks, in VOC2012 or a path: one PNG a photo.")] = "saliency_supervised",
    with_labels: Annotated[bool, typer.Option("--with-labels/--no-labels", help="Keep the ground truth beside each photo; training never reads it.")] = True,
    ids: Annotated[Path | None, typer.Option(help="File with the ids to take, instead of --split.")] = None,
    hold_out: Annotated[int, typer.Option(min=0, help="Set N photos of the list aside, the same ones every time.", metavar="N")] = 0,
    part: Annotated[Part, typer.Option(help="With --hold-out: which side to build.")] = Part.train,
    download: Annotated[bool, typer.Option("--download", help="Fetch VOC 2012 (2 GB) into ROOT first, through torchvision.")] = False,
    *,
    options: BuildOptions,
) -> None:
    """From PASCAL VOC 2012 and a folder of proposals.

    Example: mcdist shards build voc data/voc --split trainaug --out shards/voc_trainaug
    """
    from mcdist.building.sources.voc import download_voc, voc_source
    from mcdist.cli.shards.build_shards import build_and_print, treatment_of

    if download:
        download_voc(root)
    side: Any = part.value
    source = voc_source(
        root, split=split, proposals=proposals, treatment=treatment_of(options), with_labels=with_labels, ids_file=ids, hold_out=hold_out, part=side
    )
    build_and_print(source, options=options)


@build.command("coco")
@spread
def build_coco(
    images: Annotated[Path, typer.Option("--images", help="Folder of the photos.", show_default=False)],
    annotations: Annotated[
        Path | None, typer.Option(help="COCO file that lists the photos: instances_*.json, or image_info_*.json. Without one, every picture in --images.")
    ] = None,
    masks: Annotated[
        str | None,
        typer.Option(metavar="WHERE", help="annotations, panoptic, a folder of PNGs, or a JSON of proposals: [{image_id or file_name, segmentation, score}]."),
    ] = None,
    panoptic: Annotated[Path | None, typer.Option(help="Panoptic file; needs --panoptic-masks.")] = None,
    panoptic_masks: Annotated[Path | None, typer.Option(help="Folder of panoptic PNGs.")] = None,
    stuff: Annotated[Path | None, typer.Option(help="Folder of COCO-Stuff maps (stuffthingmaps): the photo's path with .png.")] = None,
    labels: Annotated[
        Labels,
        typer.Option(
            help="Ground truth, for evaluation: COCO's category ids, COCO-Stuff's 27 coarse or 171 fine classes, or none. "
            "auto: coarse with --stuff, else categories where there are annotations."
        ),
    ] = Labels.auto,
    min_score: Annotated[float, typer.Option(help="Leave out proposals with a lower score.")] = 0.0,
    *,
    options: BuildOptions,
) -> None:
    """From COCO: instances, panoptic maps, COCO-Stuff labels, or photos with proposals. Overlaps: the smaller object on top. Crowds: void.

    Example: mcdist shards build coco --images train2017 --annotations annotations/instances_train2017.json --out shards/coco
    """
    from mcdist.building.sources.coco.plan import CocoFiles, coco_source
    from mcdist.cli.shards.build_shards import build_and_print, treatment_of
    from mcdist.report.progress import spinner

    files = CocoFiles(
        images=images,
        annotations=annotations,
        masks=masks,
        panoptic=panoptic,
        panoptic_masks=panoptic_masks,
        stuff=stuff,
        labels=labels,
        min_score=min_score,
    )
    with spinner(f"Reading COCO's files about {images}"):
        source = coco_source(files, treatment=treatment_of(options))
    build_and_print(source, options=options)


@build.command("folder")
@spread
def build_folder(
    photos: Annotated[Path, typer.Argument(help="Folder of photos (JPEG, 8-bit PNG), nested or not.", show_default=False)],
    masks: MaskOptions,
    labels: Labelled = None,
    *,
    options: BuildOptions,
) -> None:
    """From a folder of photos and a folder of masks, or of photos alone with --proposals.

    Example: mcdist shards build folder photos --masks masks --out shards/mine
    Example: mcdist shards build folder photos --proposals ensemble --out shards/mine
    """
    from mcdist.building.sources.folder import folder_source
    from mcdist.cli.shards.build_shards import build_and_print, treatment_of
    from mcdist.cli.shards.proposed_masks import masks_for

    folder = masks_for(photos, options=masks, build=options)
    build_and_print(folder_source(photos, masks=folder, labels=labels, treatment=treatment_of(options)), options=options)


@build.command("tree")
@spread
def build_tree(
    photos: Annotated[Path, typer.Argument(help="Folder of class folders of photos, as ImageNet has them.", show_default=False)],
    masks: MaskOptions,
    labels: Labelled = None,
    *,
    options: BuildOptions,
) -> None:
    """From class folders of photos and the same folders of masks. The class is kept in each sample's json and used by nothing.

    Example: mcdist shards build tree imagenet/train --masks saliency/train --out shards/imagenet
    """
    from mcdist.building.sources.folder import tree_source
    from mcdist.cli.shards.build_shards import build_and_print, treatment_of
    from mcdist.cli.shards.proposed_masks import masks_for

    folder = masks_for(photos, options=masks, build=options)
    build_and_print(tree_source(photos, masks=folder, labels=labels, treatment=treatment_of(options)), options=options)


@build.command("tar")
@spread
def build_tar(
    photos: Annotated[list[Path], typer.Argument(help="Tars of photos, not compressed. They are read by offset and never unpacked.", show_default=False)],
    masks: Annotated[list[Path], typer.Option(help="Folder of masks, or a tar with the same inner paths and .png; several tars: once for each.")],
    labels: Annotated[list[Path] | None, typer.Option(help="Ground truth, as --masks: class ids, 255 void.", show_default=False)] = None,
    *,
    options: BuildOptions,
) -> None:
    """From tars of photos, with masks in a folder or in tars.

    Example: mcdist shards build tar photos-0.tar photos-1.tar --masks masks.tar --out shards/mine
    """
    from mcdist.building.sources.tar import tar_source
    from mcdist.cli.shards.build_shards import build_and_print, treatment_of

    build_and_print(tar_source(photos, masks=masks, labels=labels or [], treatment=treatment_of(options)), options=options)


@build.command("demo")
def build_demo(
    out: Out,
    num_train: Annotated[int, typer.Option(help="Photos to train on, without ground truth.")] = 1200,
    num_val: Annotated[int, typer.Option(help="Photos to evaluate on, with ground truth.")] = 200,
    size_px: Annotated[int, typer.Option(help="Width and height of a photo.")] = 128,
    seed: Annotated[int, typer.Option(help="Another seed gives other photos.")] = 0,
    shard_size: ShardSize = 100,
    shard_format: Format = ShardFormat.webdataset,
    ffcv_photo: PhotoKept = None,
    workers: Workers = DEFAULT_WORKERS,
    overwrite: Overwrite = False,
) -> None:
    """Generated photos of ten classes, with imperfect proposals: OUT/train and OUT/val. Needs no data and no internet.

    Example: mcdist shards build demo --out shards/demo
    """
    from mcdist.cli.shards import build_demo as demo

    options = BuildOptions(out=out, shard_size=shard_size, shard_format=shard_format, ffcv_photo=ffcv_photo, workers=workers, strict=True, overwrite=overwrite)
    demo.build_demo(options, num_train=num_train, num_val=num_val, size_px=size_px, seed=seed)
