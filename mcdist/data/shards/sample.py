"""Sample: one photo with its instance map, and the bytes they are kept as.

Members of a shard sample: `jpg` or `png` the photo's own bytes; `mask.png` the instance map; `seg.png` ground truth (evaluation
only); `json` source, size, proposal method and parameters. Maps are 8-bit grey PNG: 255 is void, so an image holds at most 254 objects.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Int16, UInt8
from torch import Tensor

from mcdist.data.pictures.photo import decode_upright, decode_with_pillow
from mcdist.data.pictures.png import STORED_VOID, decode_grey_png
from mcdist.data.shards.raw_sample import SEGMENTS_MEMBER, RawSample
from mcdist.errors import ShardError
from mcdist.types import VOID


@dataclass(frozen=True, slots=True)
class Sample:
    """A decoded sample; `segments` holds the ground truth's raw ids (255 void), None where there is none or it was not asked for."""

    key: str
    photo: UInt8[Tensor, "3 H W"]
    instances: Int16[Tensor, "H W"]
    segments: UInt8[Tensor, "H W"] | None = None


def decode_sample(raw: RawSample, *, with_segments: bool = False) -> Sample:
    """Decode a sample and check that its members fit together.

    Raises:
        ShardError: an unreadable member, an instance map or ground truth of another size than the photo, or no ground truth though asked for.
    """
    photo, instances = photo_of(raw), instances_of(stored_map_of(raw))
    segments = None
    if with_segments:
        if raw.segments is None:
            raise ShardError(f"{raw.where}: evaluation needs the ground truth {SEGMENTS_MEMBER}, the sample has none; build the shards with labels")
        segments = decode_grey(raw.segments, where=raw.where)
        check_size(segments.shape, photo=photo, what="ground truth", where=raw.where)
    check_size(instances.shape, photo=photo, what="instance map", where=raw.where)
    return Sample(key=raw.key, photo=photo, instances=instances, segments=segments)


def photo_of(raw: RawSample, *, shrink: int = 1) -> UInt8[Tensor, "3 H W"]:
    """The photo's pixels, as they are kept or decoded as `decode_photo` does."""
    return decode_photo(raw.photo, where=raw.where, shrink=shrink) if isinstance(raw.photo, bytes) else torch.from_numpy(raw.photo).permute(2, 0, 1)


def stored_map_of(raw: RawSample) -> UInt8[Tensor, "H W"]:
    """The instance map as it is stored, as it is kept or decoded as `decode_grey` does."""
    return decode_grey(raw.instances, where=raw.where) if isinstance(raw.instances, bytes) else torch.from_numpy(raw.instances)


def decode_photo(content: bytes, *, where: str, shrink: int = 1) -> UInt8[Tensor, "3 H W"]:
    """`decode_upright` as a tensor; its memory runs along the colours first.

    Raises:
        ShardError: the photo cannot be decoded.
    """
    try:
        return torch.from_numpy(decode_upright(content, shrink=shrink)).permute(2, 0, 1)
    except ValueError as error:
        if shrink > 1:
            raise ShardError(f"{where}: the photo cannot be decoded at 1/{shrink}; set data.decode=exact, or check with: mcdist shards verify") from error
        raise ShardError(f"{where}: the photo cannot be decoded ({error}); rebuild this shard without it") from error


def decode_grey(content: bytes, *, where: str) -> UInt8[Tensor, "H W"]:
    """Values of an 8-bit grey PNG."""
    values = decode_grey_png(content)
    if values is not None:
        return torch.from_numpy(values)
    try:
        return torch.from_numpy(decode_with_pillow(content, mode="L"))
    except ValueError as error:
        raise ShardError(f"{where}: a map cannot be decoded ({error}); rebuild this shard") from error


def instances_of(stored: UInt8[Tensor, "H W"]) -> Int16[Tensor, "H W"]:
    """Instance map of a map as it is stored: 255 becomes -1, void."""
    values = stored.to(torch.int16)
    return torch.where(values == STORED_VOID, VOID, values)


def check_size(shape: Sequence[int], *, photo: Tensor, what: str, where: str, shrink: int = 1) -> None:
    """Raises ShardError where a map of that shape does not fit its photo, decoded at 1/shrink."""
    if tuple(-(-side // shrink) for side in shape) != photo.shape[1:]:
        height, width = photo.shape[1:]
        scale = "" if shrink == 1 else f" at 1/{shrink}"
        raise ShardError(f"{where}: the {what} is {shape[1]} x {shape[0]}, its photo{scale} {width} x {height}; rebuild this shard")
