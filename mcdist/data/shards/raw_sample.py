"""RawSample: a sample as its shard holds it, and the names of its members. Reading one needs no torch: `mcdist.data.shards.sample` decodes it."""

from dataclasses import dataclass

import numpy
from jaxtyping import UInt8

PHOTO_MEMBERS = ("jpg", "png")
INSTANCES_MEMBER = "mask.png"
SEGMENTS_MEMBER = "seg.png"
INFO_MEMBER = "json"


@dataclass(frozen=True, slots=True)
class RawSample:
    """Undecoded bytes, or the pixels of what is kept decoded. `where` names shard and key for messages."""

    key: str
    where: str
    photo: bytes | UInt8[numpy.ndarray, "H W 3"]
    instances: bytes | UInt8[numpy.ndarray, "H W"]
    segments: bytes | None
