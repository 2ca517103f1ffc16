"""Object-mask proposals with the faults of real ones: rough outlines, objects missed, neighbours merged, parts cut off, things that are none."""

import numpy
from jaxtyping import Bool, Int16
from PIL import Image, ImageFilter

from mcdist.building.sources.demo.scene import smooth_noise

MISSED_SHARE = 0.08
MERGED_SHARE = 0.08
CUT_SHARE = 0.1
SPURIOUS_SHARE = 0.08
"""The first three a true object, the last a photo."""

WARP_CELLS = 14
MIN_SHARE = 0.002
"""A proposal smaller than this share of the photo is none."""


def propose(instances: Int16[numpy.ndarray, "H W"], *, random: numpy.random.Generator) -> Int16[numpy.ndarray, "H W"]:
    """A plausible method's answer for a photo whose true objects are `instances`: 0 background, 1.. proposals.

    At least one object is always found, so that every photo can be trained on.
    """
    size_px = instances.shape[0]
    rough = _warped(instances, random=random)
    parts = _found([rough == number for number in range(1, int(instances.max()) + 1)], random=random)
    parts = [_cut(_resized_outline(part, random=random), random=random) for part in parts]
    if random.random() < SPURIOUS_SHARE:
        parts.insert(0, _spurious(random, size_px=size_px))
    proposals = numpy.zeros_like(instances)
    for part in parts:
        if part.mean() > MIN_SHARE:
            proposals[part] = proposals.max() + 1
    return _dense(proposals)


def _warped(instances: Int16[numpy.ndarray, "H W"], *, random: numpy.random.Generator) -> Int16[numpy.ndarray, "H W"]:
    """Read every pixel a little beside itself: outlines wander by about 1.3 % of the photo's side."""
    size_px = instances.shape[0]
    rows, columns = numpy.mgrid[0:size_px, 0:size_px]
    step = 0.013 * size_px
    row = numpy.clip(rows + step * smooth_noise(random, size_px=size_px, cells=WARP_CELLS), 0, size_px - 1).round().astype(int)
    column = numpy.clip(columns + step * smooth_noise(random, size_px=size_px, cells=WARP_CELLS), 0, size_px - 1).round().astype(int)
    return instances[row, column]


def _found(parts: list[Bool[numpy.ndarray, "H W"]], *, random: numpy.random.Generator) -> list[Bool[numpy.ndarray, "H W"]]:
    """Leave some objects out and merge some with their nearest neighbour; the largest stays where all would go."""
    parts = [part for part in parts if part.any()]
    kept = [part for part in parts if random.random() >= MISSED_SHARE] or parts[:1]
    for number in range(len(kept) - 1, 0, -1):
        if random.random() < 2 * MERGED_SHARE:
            nearest = min(range(number), key=lambda other: _apart(kept[number], kept[other]))
            kept[nearest] = kept[nearest] | kept.pop(number)
    return kept


def _apart(one: Bool[numpy.ndarray, "H W"], other: Bool[numpy.ndarray, "H W"]) -> float:
    """Distance of the centres, in px."""
    return float(numpy.linalg.norm(numpy.argwhere(one).mean(axis=0) - numpy.argwhere(other).mean(axis=0)))


def _resized_outline(part: Bool[numpy.ndarray, "H W"], *, random: numpy.random.Generator) -> Bool[numpy.ndarray, "H W"]:
    """Grown or shrunk by up to about 1 % of the photo's side."""
    width = 2 * max(1, round(0.008 * part.shape[0])) + 1
    kind = int(random.integers(4))
    if kind > 1:
        return part
    image = Image.fromarray(part.astype(numpy.uint8) * 255)
    return numpy.asarray(image.filter(ImageFilter.MaxFilter(width) if kind == 0 else ImageFilter.MinFilter(width))) > 127


def _cut(part: Bool[numpy.ndarray, "H W"], *, random: numpy.random.Generator) -> Bool[numpy.ndarray, "H W"]:
    """Sometimes a disc is missing at the object's side."""
    if random.random() >= CUT_SHARE or not part.any():
        return part
    rows, columns = numpy.nonzero(part)
    chosen = int(random.integers(len(rows)))
    radius = random.uniform(0.25, 0.45) * numpy.sqrt(part.sum())
    grid_rows, grid_columns = numpy.ogrid[0 : part.shape[0], 0 : part.shape[1]]
    return part & (numpy.hypot(grid_rows - rows[chosen], grid_columns - columns[chosen]) > radius)


def _spurious(random: numpy.random.Generator, *, size_px: int) -> Bool[numpy.ndarray, "H W"]:
    """An irregular blob somewhere."""
    rows, columns = numpy.ogrid[0:size_px, 0:size_px]
    x, y = random.uniform(0.1, 0.9, 2) * size_px
    far = numpy.hypot(rows - y, columns - x) + 0.03 * size_px * smooth_noise(random, size_px=size_px, cells=8)
    return far < random.uniform(0.07, 0.14) * size_px


def _dense(instances: Int16[numpy.ndarray, "H W"]) -> Int16[numpy.ndarray, "H W"]:
    """Numbers 1, 2, ... without gaps: a later proposal may have covered an earlier one."""
    present = numpy.unique(instances)
    return numpy.searchsorted(numpy.union1d([0], present), instances).astype(numpy.int16)
