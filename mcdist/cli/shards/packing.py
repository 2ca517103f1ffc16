"""From the command line's choice of a format to the way photos are packed."""

from mcdist.building.writers.pack import Packing, PhotoMode
from mcdist.cli.shards.options import FfcvPhoto, ShardFormat, check_format

_MODES: dict[FfcvPhoto, PhotoMode] = {FfcvPhoto.jpg: "jpg", FfcvPhoto.raw: "raw", FfcvPhoto.smart: "smart"}


def packing_of(shard_format: ShardFormat, *, photo: FfcvPhoto | None, lossless: bool = False) -> Packing | None:
    """How photos are packed into FFCV files; None for tars. Raises as `check_format`."""
    check_format(shard_format, photo=photo)
    if shard_format == ShardFormat.webdataset:
        return None
    return Packing(photo=_MODES[photo or FfcvPhoto.jpg], lossless=lossless)
