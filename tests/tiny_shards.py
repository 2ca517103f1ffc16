"""A tiny shard folder for tests, written by hand: tar files and a manifest, without the builder."""

import hashlib
import io
import tarfile
from collections.abc import Callable
from pathlib import Path

import numpy
from PIL import Image

from mcdist.data.manifest import Manifest, SampleEntry, ShardEntry, write_manifest
from mcdist.data.sample import encode_map


def photo_bytes(pixels: numpy.ndarray) -> bytes:
    """An RGB PNG, so that a test gets back exactly the pixels it wrote."""
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, format="PNG")
    return file.getvalue()


def draw_members(index: int, *, height: int = 40, width: int = 52) -> dict[str, bytes]:
    """A noisy photo whose red channel is 40 x the instance map: two rectangles on background."""
    generator = numpy.random.default_rng(index)
    instances = numpy.zeros((height, width), dtype=numpy.int16)
    instances[5:25, 5:25] = 1
    instances[15:35, 25:45] = 2
    photo = generator.integers(0, 256, (height, width, 3), dtype=numpy.uint8)
    photo[..., 0] = 40 * instances
    return {"png": photo_bytes(photo), "mask.png": encode_map(instances), "seg.png": encode_map(instances), "json": b'{"source": "tiny"}'}


def write_shard(path: Path, samples: list[tuple[str, dict[str, bytes]]]) -> ShardEntry:
    """One tar of the samples and its manifest entry, offsets included."""
    with tarfile.open(path, "w", format=tarfile.USTAR_FORMAT) as tar:
        for key, members in samples:
            for name, content in members.items():
                info = tarfile.TarInfo(f"{key}.{name}")
                info.size = len(content)
                tar.addfile(info, io.BytesIO(content))
    with tarfile.open(path) as tar:
        extents = {info.name: (info.offset_data, info.size) for info in tar}
    entries = tuple(SampleEntry(key=key, members={name: extents[f"{key}.{name}"] for name in members}) for key, members in samples)
    content = path.read_bytes()
    return ShardEntry(name=path.name, num_bytes=len(content), sha256=hashlib.sha256(content).hexdigest(), samples=entries)


def tiny_shards(folder: Path, num_samples: int, *, shard_size: int = 5, members_of: Callable[[int], dict[str, bytes]] = draw_members) -> Path:
    """Write a shard folder of `num_samples` samples, `shard_size` a tar, each with the members that `members_of(index)` gives."""
    folder.mkdir(parents=True, exist_ok=True)
    samples = [(f"photo_{index:04d}", members_of(index)) for index in range(num_samples)]
    starts = range(0, num_samples, shard_size)
    shards = tuple(write_shard(folder / f"shard-{start // shard_size:04d}.tar", samples[start : start + shard_size]) for start in starts)
    write_manifest(Manifest(source="tiny", shards=shards), folder=folder)
    return folder
