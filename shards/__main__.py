"""The command line: python -m shards build|convert|verify|inspect."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from typer.core import TyperGroup

from mcdist.data.manifest import read_manifest
from mcdist.data.open_shards import open_shards
from mcdist.errors import ConfigError, McdistError, ShardError
from shards.build import build_shards
from shards.console import default_workers, print_built, progress_bar
from shards.contact_sheet import write_contact_sheet
from shards.convert import convert_shards
from shards.demo import DemoPart, demo_source
from shards.file_source import Treatment
from shards.folder import folder_source
from shards.format_options import Format, PhotoKept, ShardFormat, packing_of
from shards.overview import overview_of, spread_samples, table_of
from shards.pack_ffcv import Packing
from shards.source import Source
from shards.verify import verify_shards
from shards.voc import download_voc, voc_source

NUM_LOOKED_AT = 500
DEFAULT_WORKERS = default_workers()
SHOWN_PROBLEMS = 20


class PlainErrors(TyperGroup):
    """Every error a user can cause ends in one sentence on the error stream and its exit code, never in a stack trace."""

    def invoke(self, ctx: Any) -> Any:
        """Run the command; see the class."""
        try:
            return super().invoke(ctx)
        except McdistError as error:
            typer.echo(f"error: {error}", err=True)
            raise typer.Exit(error.exit_code) from error


class MaskValues(StrEnum):
    """What the numbers in a mask mean."""

    auto = "auto"
    binary = "binary"
    instances = "instances"


class Part(StrEnum):
    """A side of --hold-out."""

    train = "train"
    held_out = "held-out"


Out = Annotated[Path, typer.Option("--out", help="Folder to write the shards to.", show_default=False)]
ShardSize = Annotated[int, typer.Option(min=1, help="Photos a shard.")]
Workers = Annotated[int, typer.Option(min=1, help="Worker processes; they change the time, never a byte.")]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace the shards already in --out.")]
Strict = Annotated[bool, typer.Option("--strict", help="Stop at the first photo that cannot take part, instead of skipping, counting and listing it.")]
ShortSide = Annotated[
    int, typer.Option("--short-side", min=0, metavar="PX", help="Shrink photos to this short side and re-encode them; 0 keeps their own bytes.")
]
Quality = Annotated[int, typer.Option("--jpeg-quality", min=1, max=100, help="JPEG quality of photos that are shrunk.")]
Values = Annotated[
    MaskValues, typer.Option("--mask-values", help="binary: above 127 is foreground. instances: object ids, 255 void. auto: binary if only 0 and 255 occur.")
]
Components = Annotated[
    bool, typer.Option("--components/--no-components", help="Binary masks: each connected part above 1 % of the area is an object of its own.")
]
KeepEmpty = Annotated[
    bool,
    typer.Option(
        "--keep-empty", help="Keep photos whose mask has no object. For sets to evaluate on, which need every photo; training cannot use such a photo."
    ),
]

app = typer.Typer(
    cls=PlainErrors,
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    help="Photos with object masks become shards: tars that training reads fast, with a manifest that says what lies where.",
)
build = typer.Typer(
    no_args_is_help=True,
    help="Build a shard folder. A build that was stopped goes on when the same command is given again. The same input always gives the same bytes.",
)
app.add_typer(build, name="build")


@build.command("voc")
def build_voc(
    root: Annotated[Path, typer.Argument(help="Folder that holds VOCdevkit, or is VOC2012.", show_default=False)],
    out: Out,
    split: Annotated[str, typer.Option(help="List of ids: ImageSets/Segmentation/SPLIT.txt.")] = "trainaug",
    proposals: Annotated[str, typer.Option(help="Folder of masks, in VOC2012 or a path: one PNG a photo.")] = "saliency_supervised",
    with_labels: Annotated[bool, typer.Option("--with-labels/--no-labels", help="Keep the ground truth beside each photo; training never reads it.")] = True,
    ids: Annotated[Path | None, typer.Option(help="File with the ids to take, instead of --split.")] = None,
    hold_out: Annotated[int, typer.Option(min=0, help="Set N photos of the list aside, the same ones every time.", metavar="N")] = 0,
    part: Annotated[Part, typer.Option(help="With --hold-out: which side to build.")] = Part.train,
    download: Annotated[bool, typer.Option("--download", help="Fetch VOC 2012 (2 GB) into ROOT first, through torchvision.")] = False,
    mask_values: Values = MaskValues.auto,
    components: Components = False,
    keep_empty: KeepEmpty = False,
    short_side: ShortSide = 0,
    jpeg_quality: Quality = 92,
    shard_size: ShardSize = 256,
    shard_format: Format = ShardFormat.webdataset,
    ffcv_photo: PhotoKept = None,
    workers: Workers = DEFAULT_WORKERS,
    strict: Strict = False,
    overwrite: Overwrite = False,
) -> None:
    """From PASCAL VOC 2012 and a folder of proposals.

    Example: python -m shards build voc data/voc --split trainaug --out shards/voc_trainaug
    """
    if download:
        download_voc(root)
    treatment = _treatment(mask_values, components=components, keep_empty=keep_empty, short_side=short_side, jpeg_quality=jpeg_quality)
    side: Any = part.value
    source = voc_source(root, split=split, proposals=proposals, treatment=treatment, with_labels=with_labels, ids_file=ids, hold_out=hold_out, part=side)
    packing = packing_of(shard_format, photo=ffcv_photo)
    _build(source, out=out, packing=packing, shard_size=shard_size, workers=workers, strict=strict, overwrite=overwrite)


@build.command("folder")
def build_folder(
    photos: Annotated[Path, typer.Argument(help="Folder of photos (JPEG, 8-bit PNG), nested or not.", show_default=False)],
    masks: Annotated[Path, typer.Option(help="Folder of masks: the photo's path with .png.", show_default=False)],
    out: Out,
    labels: Annotated[Path | None, typer.Option(help="Folder of ground truth: the photo's path with .png, class ids, 255 void.")] = None,
    mask_values: Values = MaskValues.auto,
    components: Components = False,
    keep_empty: KeepEmpty = False,
    short_side: ShortSide = 0,
    jpeg_quality: Quality = 92,
    shard_size: ShardSize = 256,
    shard_format: Format = ShardFormat.webdataset,
    ffcv_photo: PhotoKept = None,
    workers: Workers = DEFAULT_WORKERS,
    strict: Strict = False,
    overwrite: Overwrite = False,
) -> None:
    """From a folder of photos and a folder of masks.

    Example: python -m shards build folder photos --masks masks --out shards/mine
    """
    treatment = _treatment(mask_values, components=components, keep_empty=keep_empty, short_side=short_side, jpeg_quality=jpeg_quality)
    source = folder_source(photos, masks=masks, labels=labels, treatment=treatment)
    packing = packing_of(shard_format, photo=ffcv_photo)
    _build(source, out=out, packing=packing, shard_size=shard_size, workers=workers, strict=strict, overwrite=overwrite)


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

    Example: python -m shards build demo --out shards/demo
    """
    parts: tuple[tuple[DemoPart, int], ...] = (("train", num_train), ("val", num_val))
    sources = [demo_source(part, num_photos=num, size_px=size_px, seed=seed) for part, num in parts]
    packing = packing_of(shard_format, photo=ffcv_photo)
    for source in sources:
        _build(source, out=out / source.part, packing=packing, shard_size=shard_size, workers=workers, strict=True, overwrite=overwrite)


@app.command("convert")
def convert(
    folder: Annotated[Path, typer.Argument(metavar="IN", help="Shard folder.", show_default=False)],
    out: Annotated[Path, typer.Argument(metavar="OUT", help="Folder to write the shards to.", show_default=False)],
    to: Annotated[ShardFormat, typer.Option(help="The format of OUT.", show_default=False)],
    ffcv_photo: PhotoKept = None,
    lossless: Annotated[
        bool, typer.Option("--lossless", help="Keep every photo's own bytes, beside its pixels too; back to tars, refuse a photo that has lost them.")
    ] = False,
    workers: Workers = DEFAULT_WORKERS,
    overwrite: Overwrite = False,
) -> None:
    """Write a shard folder in the other format: the same shards, samples, order and members.

    Photos kept as pixels alone (--ffcv-photo raw without --lossless) are one way: back in tars they are PNGs of the same pixels.

    Example: python -m shards convert shards/voc shards/voc_ffcv --to ffcv --ffcv-photo raw
    """
    packing = packing_of(to, photo=ffcv_photo, lossless=lossless)
    with progress_bar(f"Converting {folder.name}", total=read_manifest(folder).num_samples) as tick:
        built = convert_shards(folder, out=out, packing=packing, lossless=lossless, num_workers=workers, overwrite=overwrite, tick=tick)
    print_built(built)


@app.command("verify")
def verify(folder: Annotated[Path, typer.Argument(help="Shard folder.", show_default=False)]) -> None:
    """Read every byte of a shard folder again and compare it with its manifest; exit code 3 where it is damaged."""
    with progress_bar("Verifying", total=read_manifest(folder).num_samples) as tick:
        verified = verify_shards(folder, tick=tick)
    counts = f"{verified.num_shards} shards, {verified.num_samples:,} photos, {verified.num_members:,} members, {verified.num_bytes / 1e6:,.1f} MB"
    if not verified.problems:
        typer.echo(f"{folder} is sound: {counts}.")
        return
    typer.echo(f"{folder}: {counts}; {len(verified.problems)} problems:")
    for problem in verified.problems[:SHOWN_PROBLEMS]:
        typer.echo(f"  {problem}")
    raise ShardError(
        f"expected {folder} to be as its manifest says, found {len(verified.problems)} problems; build it again with --overwrite, or copy it again"
    )


@app.command("inspect")
def inspect(
    folder: Annotated[Path, typer.Argument(help="Shard folder.", show_default=False)],
    sheet: Annotated[Path | None, typer.Option(metavar="FILE.png", help="Where the contact sheet goes; default: FOLDER-sheet.png beside the folder.")] = None,
    num: Annotated[int, typer.Option(min=1, help="Photos on the contact sheet.")] = 24,
) -> None:
    """Show what a shard folder holds: a table, and a contact sheet of photos with their masks."""
    reader = open_shards(folder)
    Console().print(table_of(overview_of(reader, folder=folder, num=NUM_LOOKED_AT)), soft_wrap=True, highlight=False, markup=False)
    path = sheet or folder.resolve().with_name(f"{folder.resolve().name}-sheet.png")
    if path.suffix.lower() != ".png":
        raise ConfigError(f"--sheet wants a file that ends in .png, got {path}; rename it")
    write_contact_sheet(list(spread_samples(reader, num=num)), path=path)
    typer.echo(f"contact sheet: {path}")


def _treatment(mask_values: MaskValues, *, components: bool, keep_empty: bool, short_side: int, jpeg_quality: int) -> Treatment:
    values: Any = mask_values.value
    return Treatment(short_side_px=short_side, jpeg_quality=jpeg_quality, mask_values=values, components=components, keep_empty=keep_empty)


def _build(source: Source, *, out: Path, packing: Packing | None, shard_size: int, workers: int, strict: bool, overwrite: bool) -> None:
    with progress_bar(f"Building {out.name}", total=len(source.items)) as tick:
        built = build_shards(source, folder=out, shard_size=shard_size, packing=packing, num_workers=workers, strict=strict, overwrite=overwrite, tick=tick)
    print_built(built)


def main() -> None:
    """Run the command line."""
    app(prog_name="python -m shards")


if __name__ == "__main__":
    main()
