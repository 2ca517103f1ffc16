"""The options that commands of shards share, with their help: one wording for all."""

from contextvars import ContextVar
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from mcdist.building.source import MAX_SKIPPED_SHARE
from mcdist.cli.options import DEFAULT_WORKERS, Device, Options, Refine, RefineOption
from mcdist.errors import ConfigError

part_to_build: ContextVar[tuple[int, int]] = ContextVar("part_to_build", default=(1, 1))
"""The (K, N) of `mcdist shards build --part K/N`, for the builder that the same command line names."""


class ShardFormat(StrEnum):
    """What the shards are."""

    webdataset = "webdataset"
    ffcv = "ffcv"


class FfcvPhoto(StrEnum):
    """How an FFCV file keeps a photo."""

    jpg = "jpg"
    raw = "raw"
    smart = "smart"


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
Format = Annotated[
    ShardFormat,
    typer.Option("--format", help="webdataset: tars, for every disk and network. ffcv: .beton files, fastest from a local disk with --ffcv-photo raw."),
]
PhotoKept = Annotated[
    FfcvPhoto | None,
    typer.Option(
        "--ffcv-photo",
        help="jpg (default): the photo's own JPEG bytes. raw: pixels, several times larger, no decoding in training. smart: pixels up to 1 MiB, else JPEG.",
        show_default=False,
    ),
]
Masks = Annotated[Path | None, typer.Option(help="Folder of masks: the photo's path with .png. With --proposals: where the masks are kept.")]
Proposals = Annotated[
    str | None,
    typer.Option("--proposals", metavar="METHOD", help="Make the masks first, by this method (mcdist proposals list), in OUT_masks unless --masks says where."),
]


@dataclass(frozen=True, slots=True)
class BuildOptions:
    """The options of every builder: how a photo and its maps become a sample, and how samples become shards."""

    out: Out
    mask_values: Values = MaskValues.auto
    components: Components = False
    keep_empty: KeepEmpty = False
    short_side: ShortSide = 0
    jpeg_quality: Quality = 92
    shard_size: ShardSize = 256
    shard_format: Format = ShardFormat.webdataset
    ffcv_photo: PhotoKept = None
    workers: Workers = DEFAULT_WORKERS
    val_share: ValShare = 0.0
    split_seed: SplitSeed = 0
    strict: Strict = False
    max_skipped_share: MaxSkipped = MAX_SKIPPED_SHARE
    overwrite: Overwrite = False

    def __post_init__(self) -> None:
        check_format(self.shard_format, photo=self.ffcv_photo)


@dataclass(frozen=True, slots=True)
class MaskOptions:
    """The options of builders whose masks are in a folder, or are proposed first."""

    masks: Masks = None
    proposals: Proposals = None
    option: Options = None
    refine: RefineOption = Refine.none
    device: Device = "cpu"


def check_format(shard_format: ShardFormat, *, photo: FfcvPhoto | None) -> None:
    """Raises ConfigError where tars were chosen together with a way for FFCV files to keep photos."""
    if shard_format == ShardFormat.webdataset and photo is not None:
        raise ConfigError(f"--ffcv-photo {photo.value} is for FFCV files, tars keep every photo's own bytes; leave it out, or choose ffcv as the format")
