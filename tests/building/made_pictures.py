"""Small photos and masks that the tests of shards make for themselves."""

from pathlib import Path

import numpy
from PIL import Image


def random_pixels(*, seed: int = 0, width: int = 48, height: int = 32) -> numpy.ndarray:
    """Smooth random colours `[H, W, 3]`."""
    small = numpy.random.default_rng(seed).integers(0, 255, (4, 6, 3), dtype=numpy.uint8)
    return numpy.array(Image.fromarray(small).resize((width, height)))


def save_photo(path: Path, *, seed: int = 0, width: int = 48, height: int = 32, mode: str = "RGB", orientation: int | None = None) -> Path:
    """A JPEG or PNG photo by the suffix of `path`."""
    path.parent.mkdir(parents=True, exist_ok=True)
    exif = Image.Exif()
    if orientation is not None:
        exif[0x0112] = orientation
    Image.fromarray(random_pixels(seed=seed, width=width, height=height)).convert(mode).save(path, exif=exif)
    return path


def save_mask(path: Path, *, width: int = 48, height: int = 32, values: numpy.ndarray | None = None) -> Path:
    """A mask PNG: two objects (1 and 2) and a void strip, or `values`."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if values is None:
        values = numpy.zeros((height, width), dtype=numpy.uint8)
        values[4:12, 4:20], values[14:28, 22:40], values[0] = 1, 2, 255
    Image.fromarray(values).save(path)
    return path
