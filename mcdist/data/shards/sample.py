"""Sample: one photo with its instance map, and the bytes they are kept as.

Members of a shard sample: `jpg` or `png` the photo's own bytes; `mask.png` the instance map; `seg.png` ground truth (evaluation
only); `json` source, size, proposal method and parameters. Maps are 8-bit grey PNG: 255 is void, so an image holds at most 254 objects.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Int16, UInt8
from torch import Tensor

from mcdist.data.pictures.decode_png import decode_png
from mcdist.data.pictures.grey_png import decode_grey_png
from mcdist.data.pictures.header import PNG_START
from mcdist.data.pictures.jpeg import decode_plain_jpeg, is_plain_jpeg
from mcdist.data.pictures.stored_map import MAX_STORED_OBJECTS as MAX_STORED_OBJECTS
from mcdist.data.pictures.stored_map import STORED_VOID
from mcdist.data.pictures.stored_map import encode_map as encode_map
from mcdist.errors import ShardError
from mcdist.types import VOID

PHOTO_MEMBERS = ("jpg", "png")
INSTANCES_MEMBER = "mask.png"
SEGMENTS_MEMBER = "seg.png"
INFO_MEMBER = "json"


@dataclass(frozen=True, slots=True)
class RawSample:
    """A sample as it lies in the shard: undecoded bytes, or the pixels of what is kept decoded. `where` names shard and key for messages."""

    key: str
    where: str
    photo: bytes | UInt8[Tensor, "3 H W"]
    instances: bytes | UInt8[Tensor, "H W"]
    segments: bytes | None


@dataclass(frozen=True, slots=True)
class Sample:
    """A decoded sample; `segments` holds the ground truth's raw ids (255 void), None where there is none or it was not asked for."""

    key: str
    photo: UInt8[Tensor, "3 H W"]
    instances: Int16[Tensor, "H W"]
    segments: UInt8[Tensor, "H W"] | None = None


def decode_sample(raw: RawSample, *, with_segments: bool = False) -> Sample:
    """Decode a sample and check that its parts fit together.

    Raises:
        ShardError: an unreadable member, an instance map or ground truth of another size than the photo, or no ground truth though asked for.
    """
    photo = decode_photo(raw.photo, where=raw.where) if isinstance(raw.photo, bytes) else raw.photo
    instances = instances_of(decode_grey(raw.instances, where=raw.where) if isinstance(raw.instances, bytes) else raw.instances)
    segments = None
    if with_segments:
        if raw.segments is None:
            raise ShardError(f"{raw.where}: evaluation wants the ground truth {SEGMENTS_MEMBER}, the sample has none; build the shards with labels")
        segments = decode_grey(raw.segments, where=raw.where)
        check_size(segments.shape, photo=photo, what="ground truth", where=raw.where)
    check_size(instances.shape, photo=photo, what="instance map", where=raw.where)
    return Sample(key=raw.key, photo=photo, instances=instances, segments=segments)


def decode_photo(content: bytes, *, where: str, shrink: int = 1) -> UInt8[Tensor, "3 H W"]:
    """RGB pixels of a JPEG or PNG, turned upright by its EXIF orientation; grey and CMYK become RGB. `shrink` as `decode_plain_jpeg`, for plain JPEGs only.

    Its memory runs along the colours first. Whatever is no plain JPEG, or is damaged, is torchvision's to read or to refuse.
    """
    if is_plain_jpeg(content):
        try:
            return torch.from_numpy(decode_plain_jpeg(content, shrink=shrink)).permute(2, 0, 1)
        except ValueError:
            pass
    if shrink > 1:
        raise ShardError(f"{where}: the photo cannot be decoded at 1/{shrink}; set data.decode=exact, or check with: mcdist shards verify")
    try:
        if content.startswith(PNG_START):
            return torch.from_numpy(decode_png(content, mode="RGB")).permute(2, 0, 1).contiguous()
        return _decode_with_torchvision(content)
    except (RuntimeError, ValueError) as error:
        raise ShardError(f"{where}: the photo cannot be decoded ({_first_line(error)}); rebuild this shard without it") from error


def decode_grey(content: bytes, *, where: str) -> UInt8[Tensor, "H W"]:
    """Values of an 8-bit grey PNG."""
    values = decode_grey_png(content)
    if values is not None:
        return torch.from_numpy(values)
    try:
        return torch.from_numpy(decode_png(content, mode="L"))
    except ValueError as error:
        raise ShardError(f"{where}: a map cannot be decoded ({_first_line(error)}); rebuild this shard") from error


def instances_of(stored: UInt8[Tensor, "H W"]) -> Int16[Tensor, "H W"]:
    """Instance map of a map as it is stored: 255 becomes -1, void."""
    values = stored.to(torch.int16)
    return torch.where(values == STORED_VOID, VOID, values)


def check_size(shape: Sequence[int], *, photo: Tensor, what: str, where: str, shrink: int = 1) -> None:
    """Raises ShardError where a map of that shape does not lie on its photo, decoded at 1/shrink."""
    if tuple(-(-side // shrink) for side in shape) != photo.shape[1:]:
        height, width = photo.shape[1:]
        scale = "" if shrink == 1 else f" at 1/{shrink}"
        raise ShardError(f"{where}: the {what} is {shape[1]} x {shape[0]}, its photo{scale} {width} x {height}; rebuild this shard")


def _decode_with_torchvision(content: bytes) -> UInt8[Tensor, "3 H W"]:
    """Imported here: torchvision brings torch's compiler, a second and 160 MiB of each data worker, and few photos come this way."""
    from torchvision.io import ImageReadMode, decode_image

    return decode_image(torch.frombuffer(bytearray(content), dtype=torch.uint8), mode=ImageReadMode.RGB, apply_exif_orientation=True)


def _first_line(error: Exception) -> str:
    return str(error).strip().split("\n")[0]
