"""A tiny folder of FFCV files for tests: the samples of `tiny_shards`, or any others, packed and written."""

import io
from collections.abc import Callable
from pathlib import Path

import numpy
from PIL import Image

from mcdist.building.source import Photo
from mcdist.building.writers.ffcv import write_beton
from mcdist.building.writers.pack import Packing, pack
from mcdist.data.pictures.png import encode_map
from mcdist.data.shards.manifest import Manifest, write_manifest
from tests.makers.tiny_shards import draw_members


def jpeg_members(index: int, *, mode: str = "RGB", orientation: int | None = None) -> dict[str, bytes]:
    """A smooth JPEG photo of 40 to 44 x 56 px, stored as `mode`, and the map of one rectangle, upright."""
    small = numpy.random.default_rng(index).integers(0, 256, (5, 7, 3), dtype=numpy.uint8)
    exif, file = Image.Exif(), io.BytesIO()
    if orientation is not None:
        exif[0x0112] = orientation
    photo = Image.fromarray(small).resize((56, 40 + index % 5)).convert(mode)
    photo.save(file, format="JPEG", exif=exif)
    instances = numpy.zeros((photo.height, photo.width) if orientation in (None, 1) else (photo.width, photo.height), dtype=numpy.int16)
    instances[5:30, 5:30] = 1
    return {"jpg": file.getvalue(), "mask.png": encode_map(instances), "json": b'{"source": "tiny"}'}


def tiny_betons(
    folder: Path, num_samples: int, *, shard_size: int = 5, members_of: Callable[[int], dict[str, bytes]] = draw_members, packing: Packing | None = None
) -> Path:
    """Write a complete folder of `num_samples` samples, `shard_size` a file."""
    folder.mkdir(parents=True, exist_ok=True)
    photos = [Photo(key=f"photo_{index:04d}", members=members_of(index)) for index in range(num_samples)]
    shards = []
    for start in range(0, num_samples, shard_size):
        samples = (pack(photo, packing=packing or Packing()) for photo in photos[start : start + shard_size])
        shards.append(write_beton(folder / f"shard-{start // shard_size:06d}.beton", samples=samples))
    write_manifest(Manifest(source="tiny", format="ffcv", shards=tuple(shard for shard in shards if shard)), folder=folder)
    return folder
