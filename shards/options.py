"""The options that builders share, with their help: one wording for all."""

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from mcdist.errors import ConfigError
from mcdist.machine.environment import num_cores
from mcdist.report.progress import progress_bar
from shards.build import MAX_SKIPPED_SHARE, build_shards, plan_of
from shards.build_part import asked_for, build_part
from shards.console import print_built, print_part
from shards.pack_ffcv import Packing
from shards.source import Source
from shards.split import split_source
from shards.treatment import Treatment

DEFAULT_WORKERS = num_cores()


class MaskValues(StrEnum):
    """What the numbers in a mask mean."""

    auto = "auto"
    binary = "binary"
    instances = "instances"


Out = Annotated[Path, typer.Option("--out", help="Folder to write the shards to.", show_default=False)]
ShardSize = Annotated[int, typer.Option(min=1, help="Photos a shard.")]
Workers = Annotated[int, typer.Option(min=1, help="Worker processes; they change the time, never a byte.")]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace the shards already in --out.")]
Strict = Annotated[bool, typer.Option("--strict", help="Stop at the first photo that cannot take part, instead of skipping, counting and listing it.")]
MaxSkipped = Annotated[
    float, typer.Option("--max-skipped-share", min=0, max=1, help="Stop where more than this share of the photos cannot take part.", metavar="SHARE")
]
ValShare = Annotated[
    float,
    typer.Option("--val-share", min=0, max=1, help="Build OUT/train and OUT/val, with this share of the photos in val; 0 does not split.", metavar="SHARE"),
]
SplitSeed = Annotated[int, typer.Option("--split-seed", help="Another seed puts other photos in val.")]
ShortSide = Annotated[
    int,
    typer.Option("--short-side", min=0, metavar="PX", help="Shrink photos to this short side (box filter) and re-encode them; 0 keeps their own bytes."),
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


@dataclass(frozen=True, slots=True)
class Building:
    """How any source is built: `val_share` 0 builds `out` itself, else `out/train` and `out/val`."""

    out: Path
    shard_size: int
    workers: int
    strict: bool
    overwrite: bool
    max_skipped_share: float = MAX_SKIPPED_SHARE
    val_share: float = 0.0
    split_seed: int = 0
    packing: Packing | None = None


def treatment_of(mask_values: MaskValues, *, components: bool, keep_empty: bool, short_side: int, jpeg_quality: int) -> Treatment:
    """The options that decide how a photo and its maps become a sample."""
    return Treatment(short_side_px=short_side, jpeg_quality=jpeg_quality, mask_values=mask_values.value, components=components, keep_empty=keep_empty)


def build_and_print(source: Source, *, building: Building) -> None:
    """Build the shards, with a progress bar, and print what became of them."""
    if not building.val_share:
        _build_one(source, out=building.out, building=building)
        return
    for part in split_source(source, val_share=building.val_share, seed=building.split_seed):
        _build_one(part, out=building.out / part.part, building=building)


def _build_one(source: Source, *, out: Path, building: Building) -> None:
    part, num_parts = asked_for.get()
    if num_parts > 1:
        if building.overwrite:
            raise ConfigError(f"--part {part}/{num_parts} goes without --overwrite: every part would delete the others' shards; remove {out} first")
        with progress_bar(f"Building part {part} of {num_parts} of {out.name}", total=-(-len(source.items) // num_parts)) as tick:
            plan = plan_of(
                source,
                folder=out,
                shard_size=building.shard_size,
                packing=building.packing,
                strict=building.strict,
                max_skipped_share=building.max_skipped_share,
            )
            print_part(build_part(plan, folder=out, part=part, num_parts=num_parts, num_workers=building.workers, tick=tick))
        return
    with progress_bar(f"Building {out.name}", total=len(source.items)) as tick:
        built = build_shards(
            source,
            folder=out,
            shard_size=building.shard_size,
            packing=building.packing,
            num_workers=building.workers,
            strict=building.strict,
            max_skipped_share=building.max_skipped_share,
            overwrite=building.overwrite,
            tick=tick,
        )
    print_built(built)
