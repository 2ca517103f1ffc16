"""A tiny shard folder for tests, written by hand: tar files and a manifest, without the builder."""

import hashlib
import io
import tarfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy
from PIL import Image

from mcdist.data.pictures.png import encode_map
from mcdist.data.readers.webdataset import WebDatasetReader
from mcdist.data.shards.index import SampleEntry, encode_index, index_name
from mcdist.data.shards.manifest import Manifest, ShardEntry, read_manifest, write_manifest


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
    """One tar of the samples, its index and its manifest entry."""
    with tarfile.open(path, "w", format=tarfile.USTAR_FORMAT) as tar:
        for key, members in samples:
            for name, content in members.items():
                info = tarfile.TarInfo(f"{key}.{name}")
                info.size = len(content)
                tar.addfile(info, io.BytesIO(content))
    with tarfile.open(path) as tar:
        extents = {info.name: (info.offset_data, info.size) for info in tar}
    entries = [SampleEntry(key=key, members={name: extents[f"{key}.{name}"] for name in members}) for key, members in samples]
    return write_index(path, samples=entries)


def write_index(path: Path, *, samples: list[SampleEntry]) -> ShardEntry:
    """The index of the tar at `path`, and the entry that fits both."""
    tar, index = path.read_bytes(), encode_index(path.name, samples=samples)
    path.with_name(index_name(path.name)).write_bytes(index)
    return ShardEntry(path.name, len(samples), len(tar), sha256_of(tar), len(index), sha256_of(index))


def sha256_of(content: bytes) -> str:
    """As the manifest writes it."""
    return hashlib.sha256(content).hexdigest()


def tiny_shards(folder: Path, num_samples: int, *, shard_size: int = 5, members_of: Callable[[int], dict[str, bytes]] = draw_members) -> Path:
    """Write a shard folder of `num_samples` samples, `shard_size` a tar, each with the members that `members_of(index)` gives."""
    folder.mkdir(parents=True, exist_ok=True)
    samples = [(f"photo_{index:04d}", members_of(index)) for index in range(num_samples)]
    starts = range(0, num_samples, shard_size)
    shards = tuple(write_shard(folder / f"shard-{start // shard_size:04d}.tar", samples[start : start + shard_size]) for start in starts)
    write_manifest(Manifest(source="tiny", shards=shards), folder=folder)
    return folder


def relist(folder: Path, *, place: int, change: Callable[[list[SampleEntry]], list[SampleEntry]]) -> Path:
    """The folder with the samples of one shard listed otherwise in its index; the tar stays, the manifest fits the new index."""
    manifest = read_manifest(folder)
    shard = manifest.shards[place]
    changed = write_index(folder / shard.name, samples=change(list(WebDatasetReader(folder).read_index(place))))
    shards = tuple(replace(shard, **_index_of(changed)) if number == place else shard for number, shard in enumerate(manifest.shards))
    write_manifest(replace(manifest, shards=shards), folder=folder)
    return folder


def _index_of(entry: ShardEntry) -> dict[str, Any]:
    return {"num_samples": entry.num_samples, "index_num_bytes": entry.index_num_bytes, "index_sha256": entry.index_sha256}
