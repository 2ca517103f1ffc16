"""A data set in DAVIS's layout with coloured squares that move, and what would break a reader of it."""

from pathlib import Path

import numpy
from PIL import Image

from mcdist.data.pictures.bit_colours import bit_colours
from mcdist.data.pictures.png import encode_palette_png

HEIGHT, WIDTH = 48, 80
NAMES = ("goose", "otter")


def tiny_davis(root: Path, *, num_frames: int = 5, year: int = 2017, num_objects: int = 2) -> Path:
    """Two videos of `num_frames` frames; in 2016 the annotation is 0 and 255."""
    for name in NAMES:
        for place in range(num_frames):
            photo, numbers = frame(place, num_objects=num_objects, down=4 * NAMES.index(name))
            write(root / "JPEGImages" / "480p" / name / f"{place:05d}.png", photo)
            path = root / "Annotations" / "480p" / name / f"{place:05d}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(encode_palette_png((numbers if year == 2017 else 255 * (numbers > 0)).astype(numpy.uint8), colours=bit_colours()))
    path = root / "ImageSets" / str(year) / "val.txt"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(NAMES) + "\n")
    return root


def frame(place: int, *, num_objects: int, down: int = 0) -> tuple[numpy.ndarray, numpy.ndarray]:
    """Squares of 16 pixels that move by 4 pixels a frame, on grey noise."""
    photo = numpy.random.default_rng(place).integers(90, 110, size=(HEIGHT, WIDTH, 3), dtype=numpy.uint8)
    numbers = numpy.zeros((HEIGHT, WIDTH), dtype=numpy.int32)
    for number, colour in zip(range(1, num_objects + 1), ((250, 20, 20), (20, 20, 250)), strict=False):
        box = slice(8 + down, 24 + down), slice(4 * place + 36 * (number - 1), 4 * place + 36 * (number - 1) + 16)
        photo[box], numbers[box] = colour, number
    return photo, numbers


def write(path: Path, pixels: numpy.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)
