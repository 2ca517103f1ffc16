"""The train/val split: which side a photo is on depends on its key and a seed alone, so that photos added later move no other."""

import hashlib
from dataclasses import dataclass, replace
from typing import Any, Literal, cast

from mcdist.building.source import Item, Option, Photo, Source
from mcdist.errors import ConfigError

Part = Literal["train", "val"]


@dataclass(frozen=True, slots=True)
class SplitSource:
    """One side of another source."""

    whole: Source
    items: tuple[Item, ...]
    part: Part
    val_share: float
    seed: int

    @property
    def name(self) -> str:
        """The whole's."""
        return self.whole.name

    @property
    def options(self) -> dict[str, Option]:
        """The whole's, and the side."""
        return {**self.whole.options, "part": self.part, "val_share": self.val_share, "split_seed": self.seed}

    def make(self, item: Item) -> Photo:
        """The whole's."""
        return self.whole.make(item)


def split_source(source: Source, *, val_share: float, seed: int) -> tuple[SplitSource, SplitSource]:
    """(train, val): val gets `val_share` of the photos in the mean, each by the hash of its key. Problems found in planning belong to train.

    Raises:
        ConfigError: a share out of range, or a side without photos.
    """
    if not 0 < val_share < 1:
        raise ConfigError(f"--val-share must be a share between 0 and 1, got {val_share:g}; 0.1 is a good start")
    val = tuple(item for item in source.items if not item.problem and draw(item.key, seed=seed) < val_share)
    held = {item.key for item in val}
    train = tuple(item for item in source.items if item.key not in held)
    if not val or not train:
        raise ConfigError(f"--val-share {val_share:g} gives {len(train)} photos to train and {len(val)} to val; choose another share or --split-seed")
    whole = without_items(source)
    return SplitSource(whole, train, "train", val_share, seed), SplitSource(whole, val, "val", val_share, seed)


def without_items(source: Source) -> Source:
    """The source as a worker needs it: its photos travel with the jobs, not the whole list with each."""
    return cast(Source, replace(cast(Any, source), items=()))


def draw(key: str, *, seed: int) -> float:
    """A number in [0, 1) that looks drawn at random."""
    return int.from_bytes(hashlib.sha256(f"split:{seed}:{key}".encode()).digest()[:7]) / 2**56
