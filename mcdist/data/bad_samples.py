"""BadSample: a sample that could not be read, for the run's list; and the stand-in that keeps its place without adding anything."""

import json
from bisect import bisect_right
from dataclasses import asdict, dataclass
from itertools import accumulate

import numpy
from PIL import Image

from mcdist.data.pictures.picture_png import encode_picture_png
from mcdist.data.pictures.png import encode_map
from mcdist.data.shards.manifest import Manifest
from mcdist.data.shards.sample import RawSample
from mcdist.types import VOID

_STAND_IN_PX = 16


@dataclass(frozen=True, slots=True)
class BadSample:
    """Which sample, when, and the sentence that says why. `key` is empty where its shard's index cannot be read."""

    shard: str
    key: str
    index: int
    epoch: int
    reason: str

    def to_json(self) -> str:
        """One line of JSON, as it travels in a Batch."""
        return json.dumps(asdict(self), sort_keys=True)


def shard_name(manifest: Manifest, *, index: int) -> str:
    """The name of the shard that holds sample `index`."""
    ends = list(accumulate(shard.num_samples for shard in manifest.shards))
    return manifest.shards[bisect_right(ends, index)].name


def stand_in(key: str) -> RawSample:
    """A black photo whose map is void everywhere: neither positive nor background in any term."""
    void = numpy.full((_STAND_IN_PX, _STAND_IN_PX), VOID, dtype=numpy.int16)
    photo = encode_picture_png(Image.new("RGB", void.shape))
    return RawSample(key=key, where=f"stand-in of {key}", photo=photo, instances=encode_map(void), segments=None)
