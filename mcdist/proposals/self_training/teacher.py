"""Teacher: photos with the masks that a network is to learn from, drawn in an order that depends on seed and step only."""

from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy
import torch
import torch.nn.functional as F
from jaxtyping import Int8, Int16, UInt8
from torch import Tensor

from mcdist.data.pictures.folder import pictures_in
from mcdist.errors import DataError
from mcdist.proposals import files
from mcdist.proposals.folder.read_photo import read_photo
from mcdist.proposals.proposal import CannotProposeError
from mcdist.proposals.self_training.saliency_net import LOGIT_STRIDE

FOREGROUND_SHARES = (0.01, 0.9)
"""A mask below or above says nothing about where an object ends."""

HARDLY_ANY = "hardly any object, or hardly anything else"


@dataclass(frozen=True, slots=True)
class Teacher:
    """The photos that have a usable mask, and these masks at the network's logits' size: 1 object, 0 background, -1 void.

    `num_without`: why the others have none, with counts.
    """

    photos: Path
    names: tuple[str, ...]
    targets: Int8[Tensor, "N s s"]
    size_px: int
    num_without: dict[str, int]

    def read(self, indices: Sequence[int]) -> UInt8[Tensor, "B 3 S S"]:
        """The photos, squared."""
        with ThreadPoolExecutor() as pool:
            return torch.stack(list(pool.map(self._photo, indices)))

    def _photo(self, index: int) -> UInt8[Tensor, "3 S S"]:
        return squared(read_photo(self.photos / self.names[index], max_side_px=4 * self.size_px).pixels, size_px=self.size_px)


def read_teacher(photos: Path, *, masks: Path, size_px: int) -> Teacher:
    """The photos below `photos` and their masks below `masks`. Photos of other shapes are squared: a network learns from both axes alike.

    Raises:
        DataError: not one photo has a usable mask.
    """
    reader = files.make(masks=str(masks))

    def look(name: str) -> Int8[Tensor, "s s"] | str:
        try:
            photo = read_photo(photos / name, max_side_px=reader.max_side_px).pixels
            mask = reader.propose(photo, name=name).instances
        except CannotProposeError as error:
            return error.outcome
        share = float((mask > 0).mean())
        return _mask_at(mask, size_px=size_px // LOGIT_STRIDE) if FOREGROUND_SHARES[0] <= share <= FOREGROUND_SHARES[1] else HARDLY_ANY

    names = pictures_in(photos)
    with ThreadPoolExecutor() as pool:
        looked = dict(zip(names, pool.map(look, names), strict=True))
    usable = {name: found for name, found in looked.items() if isinstance(found, Tensor)}
    without = Counter(found for found in looked.values() if isinstance(found, str))
    if not usable:
        found = "; ".join(f"{why}: {count}" for why, count in without.items()) or "no photos"
        raise DataError(f"not one photo below {photos} has a mask below {masks} to learn from ({found}); make some: mcdist proposals make")
    return Teacher(photos, tuple(usable), torch.stack(list(usable.values())), size_px, dict(without))


def drawn(step: int, *, num_photos: int, size: int, seed: int) -> list[int]:
    """Which photos a step sees: positions in an endless row of shuffled epochs, so that every photo comes once before one comes again."""
    epochs = range(step * size // num_photos, ((step + 1) * size - 1) // num_photos + 1)
    row = numpy.concatenate([numpy.random.default_rng((seed, epoch)).permutation(num_photos) for epoch in epochs])
    first = step * size - epochs.start * num_photos
    return [int(index) for index in row[first : first + size]]


def squared(photo: UInt8[numpy.ndarray, "H W 3"], *, size_px: int) -> UInt8[Tensor, "3 S S"]:
    """The photo at `size_px` squared, antialiased."""
    image = torch.from_numpy(numpy.array(photo)).permute(2, 0, 1)[None].float()
    resized = F.interpolate(image, size=(size_px, size_px), mode="bilinear", align_corners=False, antialias=True)
    return resized[0].round().clamp(0, 255).to(torch.uint8)


def _mask_at(mask: Int16[numpy.ndarray, "H W"], *, size_px: int) -> Int8[Tensor, "s s"]:
    """1 where most of the known area is object, 0 where most is background, -1 where most is void."""
    parts = torch.stack([torch.from_numpy(mask > 0), torch.from_numpy(mask < 0)])[None].float()
    foreground, void = F.interpolate(parts, size=(size_px, size_px), mode="bilinear", align_corners=False, antialias=True)[0]
    return (foreground > 0.5 * (1 - void)).to(torch.int8).masked_fill(void > 0.5, -1)
