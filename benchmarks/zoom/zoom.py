"""How many photos a second are zoomed, and where does the time go?

    python -m benchmarks.zoom.zoom SHARDS --photos 100 --json benchmarks/zoom/results/zoom.json

The first photos of a shard folder go through the stages of `mcdist zoom` one after another in this process, so that each has a time of its own;
`mcdist zoom` itself reads and cuts in worker processes beside the network. The network is timed as it comes, with its pixels colour beside colour, and with
its norms folded, which
is what `mcdist zoom` does. A way whose vectors differ from those of the network as it comes by more than 1e-5 is refused.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import torch
import typer
from torch import Tensor

from benchmarks.harness import inputs
from benchmarks.harness.command import run
from benchmarks.harness.measurement import Measurement, measurement, publish
from mcdist.build import open_reader
from mcdist.config import DataConfig
from mcdist.data.loader import read_sample
from mcdist.data.views.normalise import normalise
from mcdist.errors import DataError
from mcdist.machine.allocator import keep_freed_memory
from mcdist.model.backbones.backbone import Backbone
from mcdist.model.backbones.fold import fold_norms
from mcdist.model.backbones.registry import make_backbone
from mcdist.zoom.photos import CutPhotos, ReadPhoto, ZoomedPhotos
from mcdist.zoom.settings import ZoomSettings
from mcdist.zoom.vectors import LAST, ZOOM, object_vectors

DIFFERENCE_MAX = 1e-5
WAYS = ("as it comes", "channels last", "channels last, norms folded")


class Clock:
    """Processor seconds of each stage, of all threads."""

    def __init__(self) -> None:
        self.cpu_s: dict[str, float] = {}

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Add the time inside to `name`."""
        began_s = time.process_time()
        yield
        self.cpu_s[name] = self.cpu_s.get(name, 0.0) + time.process_time() - began_s


def make_way(way: str, *, name: str, weights: str, size_px: int) -> Backbone:
    """The network in one of WAYS."""
    backbone = make_backbone(name, weights=weights, dilated=False).eval()
    if way != WAYS[0]:
        backbone = backbone.to(memory_format=torch.channels_last)
    if way == WAYS[2]:
        fold_norms(backbone, image=torch.zeros(1, 3, size_px, size_px))
    return backbone


def vectors_of(backbone: Backbone, cut: CutPhotos, *, settings: ZoomSettings) -> Tensor:
    """The joined vectors of all objects, or those of the last block, in batches."""
    size = max(1, settings.batch // settings.num_views)
    found = [
        object_vectors(images, weights, backbone=backbone, num_views=settings.num_views)
        for images, weights in zip(cut.images.split(size), cut.weights.split(size), strict=True)
    ]
    return torch.cat([one.get(ZOOM, one[LAST]) for one in found])


def profile_network(backbone: Backbone, cut: CutPhotos, *, settings: ZoomSettings, clock: Clock) -> None:
    """The parts of the network's time; what is left of the whole is averaging over masks."""
    images = cut.images[:, 0].repeat_interleave(settings.num_views, dim=0)
    for part in images.split(settings.batch):
        with clock.stage("of it: to numbers"):
            inputs = normalise(part, mean=backbone.mean, std=backbone.std).contiguous(memory_format=torch.channels_last)
        with clock.stage("of it: stages"):
            features = backbone(inputs)
        if backbone.last_convolution is not None:
            with clock.stage("of it: last convolution"):
                backbone.last_convolution(features)


def timed(shards: Path, *, num_photos: int, name: str, weights: str, settings: ZoomSettings, repeats: int) -> tuple[dict[str, list[float]], int]:
    """(processor ms a photo of each stage, in each of `repeats` runs; number of objects)."""
    reader = open_reader(str(shards), key="SHARDS", data=DataConfig())
    photos = range(min(num_photos, len(reader)))
    ways = {way: make_way(way, name=name, weights=weights, size_px=settings.size_px) for way in WAYS}
    grid, mean = settings.size_px // ways[WAYS[0]].stride, ways[WAYS[0]].mean
    rows: dict[str, list[float]] = {}
    for _ in range(repeats):
        clock = Clock()
        with clock.stage("read and decode"):
            samples = [ReadPhoto(read_sample(reader, index)) for index in photos]
        zoomed = ZoomedPhotos(_of(samples), settings=settings, grid=grid, mean=mean)
        with clock.stage("cut"):
            cut = zoomed.__getitems__(list(photos))
        assert isinstance(cut, CutPhotos)
        num_objects = len(cut.images)
        with torch.inference_mode():
            found = {}
            for way, backbone in ways.items():
                with clock.stage(f"network, {way}"):
                    found[way] = vectors_of(backbone, cut, settings=settings)
            profile_network(ways[WAYS[2]], cut, settings=settings, clock=clock)
        for way in WAYS[1:]:
            difference = float((found[way] - found[WAYS[0]]).abs().max())
            if difference > DIFFERENCE_MAX:
                raise DataError(f"the vectors of the network {way} differ by {difference:.2g}, expected at most {DIFFERENCE_MAX:g}")
        whole = sum(clock.cpu_s[stage] for stage in ("read and decode", "cut", f"network, {WAYS[2]}"))
        for stage, cpu_s in {**clock.cpu_s, "whole": whole}.items():
            rows.setdefault(stage, []).append(1000 * cpu_s / len(photos))
    return rows, num_objects


def _of(samples: list[ReadPhoto]) -> Callable[[int], ReadPhoto]:
    return samples.__getitem__


def rows_of(times_ms: dict[str, list[float]], *, shape: str, provider: str) -> list[Measurement]:
    """A row for each stage, and the photos a second of processor time."""
    cpu = torch.device("cpu")
    rows = [
        measurement(values, benchmark="zoom", provider=provider, mode=stage, shape=shape, metric="processor time a photo", unit="ms", device=cpu)
        for stage, values in times_ms.items()
    ]
    speeds = [1000 / value for value in times_ms["whole"]]
    rows.append(measurement(speeds, benchmark="zoom", provider=provider, mode="whole", shape=shape, metric="photos a core", unit="1/s", device=cpu))
    return rows


def main(
    shards: Annotated[Path, typer.Argument(help="A shard folder, whose first photos are zoomed.")],
    photos: Annotated[int, typer.Option(min=1, help="How many photos.")] = 100,
    backbone: Annotated[str, typer.Option(help="Name of the backbone.")] = "efficientnet_lite0",
    weights: Annotated[str, typer.Option(help="As model.weights.")] = "imagenet",
    size: Annotated[int, typer.Option(min=1, help="Side of a picture in px.")] = 224,
    views: Annotated[int, typer.Option(min=1, help="Of each object.")] = 2,
    repeats: Annotated[int, typer.Option(min=1, help="Runs.")] = 3,
    json: Annotated[Path | None, typer.Option(help="Write all rows to this file.")] = None,
) -> None:
    """Processor time of each stage of the object zoom, on one thread."""
    keep_freed_memory()
    torch.set_num_threads(1)
    settings = ZoomSettings(size_px=size, num_views=views)
    times_ms, num_objects = timed(shards, num_photos=photos, name=backbone, weights=weights, settings=settings, repeats=repeats)
    publish(rows_of(times_ms, shape=f"{num_objects} objects, {views} views of {size} px", provider=backbone), json_path=json)


def quick(folder: Path) -> list[str]:
    """Arguments of `--quick`."""
    return [inputs.shards(folder / "shards", num_photos=8), "--photos", "8", "--size", "128", "--repeats", "1"]


if __name__ == "__main__":
    run(main, quick=quick)
