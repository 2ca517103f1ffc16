"""The command line's choice of a format: WebDataset tars, or FFCV files with photos kept in one way or another."""

from enum import StrEnum
from typing import Annotated, Any

import typer

from mcdist.building.writers.pack import Packing
from mcdist.errors import ConfigError


class ShardFormat(StrEnum):
    """What the shards are."""

    webdataset = "webdataset"
    ffcv = "ffcv"


class FfcvPhoto(StrEnum):
    """How an FFCV file keeps a photo."""

    jpg = "jpg"
    raw = "raw"
    smart = "smart"


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


def packing_of(shard_format: ShardFormat, *, photo: FfcvPhoto | None, lossless: bool = False) -> Packing | None:
    """How photos are packed into FFCV files; None for tars.

    Raises:
        ConfigError: tars, and yet a word on how FFCV shall keep photos.
    """
    if shard_format == ShardFormat.webdataset:
        if photo is not None:
            raise ConfigError(f"--ffcv-photo {photo.value} is for FFCV files, tars keep every photo's own bytes; leave it out, or choose ffcv as the format")
        return None
    kept: Any = (photo or FfcvPhoto.jpg).value
    return Packing(photo=kept, lossless=lossless)
