"""The options that builders share, with their help: one wording for all."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from mcdist.machine.environment import num_cores

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
