"""Convert: a shard folder in the other format, shard by shard, with the same samples in the same order."""

from dataclasses import dataclass
from pathlib import Path

import numpy
from PIL import Image

from mcdist.building.folder.build import Built, Plan, Tick, build_plan
from mcdist.building.folder.job import ShardJob, fingerprint, shard_path
from mcdist.building.folder.out import SHARD_NAME
from mcdist.building.source import Item, Option, Photo
from mcdist.building.writers.pack import Packing
from mcdist.data.pictures.picture_png import encode_picture_png
from mcdist.data.readers.open import open_shards
from mcdist.data.readers.reader import SampleReader
from mcdist.data.shards.manifest import Manifest
from mcdist.data.shards.sample import PHOTO_MEMBERS, decode_sample
from mcdist.errors import ConfigError, DataError


@dataclass(frozen=True, slots=True)
class SampleItem(Item):
    """A sample of the folder to convert; its identity is its shard's checksum and its place."""

    index: int = 0


@dataclass(frozen=True, slots=True)
class FolderSource:
    """The Source of a shard folder's samples. With `own_bytes` a photo of which only pixels were kept is an error, else it becomes a PNG."""

    name: str
    options: dict[str, Option]
    items: tuple[SampleItem, ...]
    reader: SampleReader
    own_bytes: bool

    def make(self, item: Item) -> Photo:
        """The sample's members, byte for byte; see `Source.make`."""
        assert isinstance(item, SampleItem)
        key, members = self.reader.key(item.index), self.reader.members(item.index)
        if any(name in members for name in PHOTO_MEMBERS):
            return Photo(key=key, members=members)
        if self.own_bytes:
            raise DataError(f"sample {key}: its photo was kept as pixels alone, its file's own bytes are gone; leave out --lossless to get a PNG of the pixels")
        return Photo(key=key, members={"png": self._png(item.index), **members}, notes=("written as PNG: only its pixels were kept",))

    def _png(self, index: int) -> bytes:
        pixels = decode_sample(self.reader.read(index)).photo.permute(1, 2, 0).contiguous().numpy()
        return encode_picture_png(Image.fromarray(numpy.asarray(pixels)))


def convert_shards(
    folder: Path, *, out: Path, packing: Packing | None, lossless: bool = False, num_workers: int = 1, overwrite: bool = False, tick: Tick = lambda _: None
) -> Built:
    """Write the samples of `folder` to `out`, as FFCV files with `packing` or as WebDataset tars without; shards, order, skipped photos and options stay.

    Tars made of FFCV files that kept the photos' own bytes are the tars that those were made of.

    Raises:
        ConfigError: there is nothing to change, or `out` holds other shards and `overwrite` is off.
        DataError: a sample is damaged, cannot be kept, or (`lossless`) has lost its own bytes.
        MachineError: as `build_shards`.
    """
    reader = open_shards(folder)
    manifest = reader.manifest
    if folder.resolve() == out.resolve():
        raise ConfigError(f"expected another folder to write to, got {out} itself; choose another OUT")
    if packing is None and manifest.format == "webdataset":
        raise ConfigError(f"{folder} holds WebDataset tars already, nothing is to be converted; give --to ffcv, or copy the folder")
    options = {name: value for name, value in manifest.options.items() if name not in Packing().options} | (packing.options if packing else {})
    source = FolderSource(name=manifest.source, options=options, items=(), reader=reader, own_bytes=lossless and packing is None)
    jobs = _jobs(manifest, out=out, options=options, packing=packing)
    plan = Plan(source=source, jobs=jobs, options=options, format="webdataset" if packing is None else "ffcv", skipped=manifest.skipped)
    return build_plan(plan, folder=out, num_workers=num_workers, overwrite=overwrite, tick=tick)


def _jobs(manifest: Manifest, *, out: Path, options: dict[str, Option], packing: Packing | None) -> list[ShardJob]:
    """A job a shard, which keeps its number."""
    jobs, first = [], 0
    for number, shard in zip(_numbers(manifest), manifest.shards, strict=True):
        indices = range(first, first + shard.num_samples)
        items = tuple(SampleItem(key=f"{index}", photo=f"{index}", identity=f"{shard.sha256}/{index - first}", index=index) for index in indices)
        path = shard_path(out, number=number, packing=packing)
        jobs.append(ShardJob(path=path, items=items, fingerprint=fingerprint(items, options=options), strict=True, packing=packing))
        first += shard.num_samples
    return jobs


def _numbers(manifest: Manifest) -> list[int]:
    """The numbers in the shards' names (one whose photos were all skipped is missing), or their places where somebody else named them."""
    found = [SHARD_NAME.fullmatch(shard.name) for shard in manifest.shards]
    return [int(match[1]) if match else place for place, match in enumerate(found)] if all(found) else list(range(len(found)))
