"""Sample: one photo with its instance map, and the bytes they are kept as.

Members of a shard sample: `jpg` or `png` the photo's own bytes; `mask.png` the instance map; `seg.png` ground truth (evaluation
only); `json` source, size, proposal method and parameters. Maps are 8-bit grey PNG: 255 is void, so an image holds at most 254 objects.
"""

from dataclasses import dataclass

import numpy
import torch
from jaxtyping import Int16, UInt8
from PIL import Image
from torch import Tensor
from torchvision.io import ImageReadMode, decode_image

from mcdist.data.decode_png import decode_png
from mcdist.data.picture_header import PNG_START
from mcdist.errors import ShardError
from mcdist.types import VOID

PHOTO_MEMBERS = ("jpg", "png")
INSTANCES_MEMBER = "mask.png"
SEGMENTS_MEMBER = "seg.png"
INFO_MEMBER = "json"
STORED_VOID = 255
MAX_STORED_OBJECTS = 254


@dataclass(frozen=True, slots=True)
class RawSample:
    """A sample as it lies in the shard: undecoded bytes. `where` names shard and key for messages."""

    key: str
    where: str
    photo: bytes
    instances: bytes
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
    photo = decode_photo(raw.photo, where=raw.where)
    instances = decode_instances(raw.instances, where=raw.where)
    segments = None
    if with_segments:
        if raw.segments is None:
            raise ShardError(f"{raw.where}: evaluation wants the ground truth {SEGMENTS_MEMBER}, the sample has none; build the shards with labels")
        segments = decode_grey(raw.segments, where=raw.where)
        _check_size(segments, photo=photo, what="ground truth", where=raw.where)
    _check_size(instances, photo=photo, what="instance map", where=raw.where)
    return Sample(key=raw.key, photo=photo, instances=instances, segments=segments)


def decode_photo(content: bytes, *, where: str) -> UInt8[Tensor, "3 H W"]:
    """RGB pixels of a JPEG or PNG, turned upright by its EXIF orientation; grey and CMYK become RGB."""
    try:
        if content.startswith(PNG_START):
            return torch.from_numpy(decode_png(content, mode="RGB")).permute(2, 0, 1).contiguous()
        return decode_image(_buffer(content), mode=ImageReadMode.RGB, apply_exif_orientation=True)
    except (RuntimeError, ValueError) as error:
        raise ShardError(f"{where}: the photo cannot be decoded ({_first_line(error)}); rebuild this shard without it") from error


def decode_grey(content: bytes, *, where: str) -> UInt8[Tensor, "H W"]:
    """Values of an 8-bit grey PNG."""
    try:
        return torch.from_numpy(decode_png(content, mode="L"))
    except ValueError as error:
        raise ShardError(f"{where}: a map cannot be decoded ({_first_line(error)}); rebuild this shard") from error


def decode_instances(content: bytes, *, where: str) -> Int16[Tensor, "H W"]:
    """Instance map of an 8-bit grey PNG: 0 background, i object, 255 -> -1 void."""
    stored = decode_grey(content, where=where).to(torch.int16)
    return torch.where(stored == STORED_VOID, VOID, stored)


def encode_map(values: numpy.ndarray) -> bytes:
    """8-bit grey PNG of a map `[H, W]` with values 0..254 and 255 or -1 for void; the same bytes for the same map."""
    import io

    if values.max(initial=0) > STORED_VOID or values.min(initial=0) < VOID:
        raise ValueError(f"a stored map holds -1..{STORED_VOID}, got {values.min()}..{values.max()}")
    stored = numpy.where(values == VOID, STORED_VOID, values).astype(numpy.uint8)
    file = io.BytesIO()
    Image.fromarray(stored).save(file, format="PNG", optimize=False, compress_level=6)
    return file.getvalue()


def _check_size(values: Tensor, *, photo: Tensor, what: str, where: str) -> None:
    if values.shape != photo.shape[1:]:
        height, width = photo.shape[1:]
        raise ShardError(f"{where}: the {what} is {values.shape[1]} x {values.shape[0]}, its photo {width} x {height}; rebuild this shard")


def _buffer(content: bytes) -> Tensor:
    return torch.frombuffer(bytearray(content), dtype=torch.uint8)


def _first_line(error: Exception) -> str:
    return str(error).strip().split("\n")[0]
