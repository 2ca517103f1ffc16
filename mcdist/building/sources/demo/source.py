"""The demo data set: generated photos of ten classes, imperfect proposals, and ground truth for the photos that are evaluated."""

import json
from dataclasses import dataclass
from typing import Literal

import numpy

from mcdist.building.source import Item, Option, Photo
from mcdist.building.sources.demo.proposals import propose
from mcdist.building.sources.demo.scene import draw_scene
from mcdist.building.sources.demo.shapes import SHAPES
from mcdist.data.pictures.jpeg import encode_jpeg
from mcdist.data.pictures.png import encode_map
from mcdist.data.shards.sample import INFO_MEMBER, INSTANCES_MEMBER, SEGMENTS_MEMBER
from mcdist.errors import ConfigError

CLASSES = ("background", *(shape.name for shape in SHAPES))
"""Ground truth id = position."""

DemoPart = Literal["train", "val"]

DEMO_VERSION = 1
"""Raised when the same seed gives other photos, so that old shards are not taken for new ones."""


@dataclass(frozen=True, slots=True)
class DemoSource:
    """The Source of generated photos. Only `val` holds ground truth: nothing that trains could look at it even by mistake."""

    items: tuple[Item, ...]
    part: DemoPart
    size_px: int
    seed: int

    @property
    def name(self) -> str:
        """Always `demo`."""
        return "demo"

    @property
    def options(self) -> dict[str, Option]:
        """What decides the photos."""
        return {"part": self.part, "size_px": self.size_px, "seed": self.seed, "demo_version": DEMO_VERSION, "classes": ",".join(CLASSES)}

    def make(self, item: Item) -> Photo:
        """Draw one photo; it depends on seed, part and key alone, so any worker draws the same."""
        number = int(item.key.rpartition("-")[2])
        random = numpy.random.default_rng([self.seed, 0 if self.part == "train" else 1, number, DEMO_VERSION])
        scene = draw_scene(random, size_px=self.size_px)
        proposals = propose(scene.instances, random=random)
        quality = int(random.integers(78, 93))
        method = {"method": "demo", "faults": "outline, missed, merged, cut, spurious"}
        num_objects = int(proposals.max())
        info = {"source": "demo", "photo": item.photo, "width": self.size_px, "height": self.size_px, "num_objects": num_objects, "proposals": method}
        members = {
            "jpg": encode_jpeg(scene.photo, quality=quality),
            INSTANCES_MEMBER: encode_map(proposals),
            INFO_MEMBER: json.dumps(info, sort_keys=True).encode(),
        }
        if self.part == "val":
            members[SEGMENTS_MEMBER] = encode_map(scene.classes)
        return Photo(key=item.key, members=members)


def demo_source(part: DemoPart, *, num_photos: int, size_px: int = 128, seed: int = 0) -> DemoSource:
    """`num_photos` photos of `size_px` x `size_px`; another seed, or the other part, makes other photos.

    Raises:
        ConfigError: a number out of range.
    """
    if num_photos < 1:
        raise ConfigError(f"the demo needs at least 1 photo for {part}, got {num_photos}; raise --num-{part}")
    if not 32 <= size_px <= 2048:
        raise ConfigError(f"--size-px must be 32 to 2048, got {size_px}; 128 is a good start")
    if seed < 0:
        raise ConfigError(f"--seed must be >= 0, got {seed}; choose another")
    keys = [f"{part}-{number:06d}" for number in range(num_photos)]
    items = tuple(Item(key=key, photo=f"{key}.jpg", identity=f"seed {seed}") for key in keys)
    return DemoSource(items=items, part=part, size_px=size_px, seed=seed)
