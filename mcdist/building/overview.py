"""Overview: the numbers that describe a shard folder, from its manifest and its maps."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy
from rich.console import Group, RenderableType
from rich.table import Table

from mcdist.data.readers.reader import SampleReader
from mcdist.data.shards.manifest import Manifest
from mcdist.data.shards.raw_sample import SEGMENTS_MEMBER
from mcdist.data.shards.sample import Sample, decode_sample

SHOWN_SKIPPED = 5


@dataclass(frozen=True, slots=True)
class Overview:
    """What `mcdist shards inspect` shows. Sizes and objects are those of the first samples looked at, `num_looked_at` of them."""

    folder: Path
    manifest: Manifest
    num_looked_at: int
    widths: tuple[int, ...]
    heights: tuple[int, ...]
    objects: dict[int, int]
    """Number of photos by number of objects."""
    foreground_percent: float
    num_with_truth: int


def overview_of(reader: SampleReader, *, folder: Path, num: int) -> Overview:
    """Decode `num` samples spread evenly over the folder and count."""
    samples = list(spread_samples(reader, num=num))
    foreground = [float((sample.instances > 0).float().mean()) for sample in samples]
    return Overview(
        folder=folder,
        manifest=reader.manifest,
        num_looked_at=len(samples),
        widths=tuple(sample.photo.shape[2] for sample in samples),
        heights=tuple(sample.photo.shape[1] for sample in samples),
        objects=dict(sorted(Counter(num_objects(sample) for sample in samples).items())),
        foreground_percent=100 * float(numpy.mean(foreground)),
        num_with_truth=reader.num_with(SEGMENTS_MEMBER),
    )


def spread_samples(reader: SampleReader, *, num: int) -> Iterator[Sample]:
    """At most `num` samples, evenly spread from the first to the last."""
    for index in numpy.unique(numpy.linspace(0, len(reader) - 1, num=min(num, len(reader))).round().astype(int)).tolist():
        yield decode_sample(reader.read(index))


def num_objects(sample: Sample) -> int:
    """Objects in the sample's instance map: the different numbers above 0."""
    return int((sample.instances.unique() > 0).sum())


def table_of(overview: Overview) -> RenderableType:
    """The overview as a table, with the first skipped photos below."""
    manifest = overview.manifest
    table = Table(title=str(overview.folder), title_justify="left", show_header=False)
    table.add_column(style="bold")
    table.add_column()
    seen = f"of {overview.num_looked_at} photos"
    table.add_row("source", f"{manifest.source}, {manifest.format}, schema version {manifest.schema_version}")
    table.add_row("options", ", ".join(f"{name} {value}" for name, value in sorted(manifest.options.items()) if name != "classes"))
    if "classes" in manifest.options:
        table.add_row("classes", str(manifest.options["classes"]).replace(",", ", "))
    table.add_row("photos", f"{manifest.num_samples:,}")
    table.add_row("shards", f"{len(manifest.shards)}, {manifest.num_bytes / 1e6:,.1f} MB, {manifest.num_bytes / manifest.num_samples / 1e3:,.1f} kB a photo")
    table.add_row("width", f"{_range_of(overview.widths)} px ({seen})")
    table.add_row("height", f"{_range_of(overview.heights)} px")
    table.add_row("objects a photo", _histogram(overview.objects))
    table.add_row("foreground", f"{overview.foreground_percent:.1f} % of the area ({seen})")
    table.add_row("ground truth", f"in {overview.num_with_truth:,} of {manifest.num_samples:,} photos")
    table.add_row("skipped", f"{len(manifest.skipped):,} photos")
    reasons = [f"  {photo}: {reason}" for photo, reason in manifest.skipped[:SHOWN_SKIPPED]]
    if len(manifest.skipped) > SHOWN_SKIPPED:
        reasons.append(f"  ... and {len(manifest.skipped) - SHOWN_SKIPPED:,} more, all in manifest.json")
    return Group(table, *reasons)


def _range_of(values: tuple[int, ...]) -> str:
    return f"{min(values)} min, {int(numpy.median(values))} median, {max(values)} max"


def _histogram(objects: dict[int, int]) -> str:
    """One line a count, with a bar."""
    most = max(objects.values())
    return "\n".join(f"{count:>3}  {'█' * max(1, round(24 * photos / most))} {photos}" for count, photos in objects.items())
