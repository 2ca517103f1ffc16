"""Pictures with known objects, made for the tests of proposals."""

from pathlib import Path
from typing import Any

import numpy
from PIL import Image


def disc(*, width: int = 96, height: int = 72, radius: int = 18, seed: int = 0) -> tuple[numpy.ndarray, numpy.ndarray]:
    """A red disc near the middle of green noise: (photo `[H, W, 3]`, where the disc is)."""
    random = numpy.random.default_rng(seed)
    photo = numpy.clip(numpy.array([60, 130, 60]) + random.normal(0, 14, (height, width, 3)), 0, 255)
    rows, columns = numpy.mgrid[:height, :width]
    centre = height / 2 + random.integers(-6, 7), width / 2 + random.integers(-8, 9)
    truth = (rows - centre[0]) ** 2 + (columns - centre[1]) ** 2 <= radius**2
    photo[truth] = numpy.clip(numpy.array([200, 50, 40]) + random.normal(0, 10, (int(truth.sum()), 3)), 0, 255)
    return photo.astype(numpy.uint8), truth


def save(path: Path, pixels: numpy.ndarray, **options: Any) -> Path:
    """The picture at `path`, with its folders."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path, **options)
    return path


def save_discs(folder: Path, *, num: int) -> list[numpy.ndarray]:
    """`num` pictures as `disc`, in two folders; gives where the discs are, in path order."""
    truths = []
    for seed in range(num):
        photo, truth = disc(seed=seed)
        save(folder / ("a" if 2 * seed < num else "b") / f"p{seed:03d}.png", photo)
        truths.append(truth)
    return truths


def read(path: Path) -> numpy.ndarray:
    """The numbers of a map."""
    with Image.open(path) as image:
        return numpy.asarray(image)


def iou(one: numpy.ndarray, other: numpy.ndarray) -> float:
    """Intersection over union."""
    return float((one & other).sum() / max((one | other).sum(), 1))


def files_in(folder: Path) -> dict[str, bytes]:
    """Every file below a folder with its bytes."""
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}
