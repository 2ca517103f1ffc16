"""Does the memory of `mcdist segment` grow with the number of photos?

    python -m benchmarks.segment.memory RUN --photos 10000 --size 64

Some hundred generated photos of several sizes, or those of a folder, linked under new names until there are enough, are segmented by this process and one
that decodes. Memory of this process is read after each tenth: resident, and of it the anonymous part, which is what the process itself allocated and not
files that it mapped. The first tenth, in which libraries allocate what they keep, is the one that others are compared with.
"""

import os
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import numpy
import torch
import typer

from benchmarks.harness import inputs
from benchmarks.harness.command import run
from benchmarks.harness.measurement import Measurement, measurement, publish, status_kib
from mcdist.building.sources.demo.scene import draw_scene
from mcdist.data.pictures.folder import PHOTO_SUFFIXES, pictures_in
from mcdist.data.pictures.jpeg import encode_jpeg
from mcdist.loading import load_run
from mcdist.segments.named_photos import named_photos
from mcdist.segments.out import SegmentFolder
from mcdist.segments.photo_files import Sizes
from mcdist.segments.segment_photos import Task, segment_photos

TENTHS = 10
KINDS = {"resident": "VmRSS", "anonymous": "RssAnon"}
"""Of memory, and what Linux calls them."""
NUM_DISTINCT = 400
SIDES_PX = (96, 128, 160, 192, 224, 256)


def make_photos(folder: Path, *, num: int) -> None:
    """Draw `num` photos as the demo's are, of several sizes, half of them wider than high."""
    for number in range(num):
        random = numpy.random.default_rng(number)
        photo = draw_scene(random, size_px=SIDES_PX[number % len(SIDES_PX)]).photo
        (folder / f"{number:04d}.jpg").write_bytes(encode_jpeg(photo[: len(photo) * (3 if number % 2 else 4) // 4], quality=85))


def memory_mib(folder: Path, *, photos: Path, num_photos: int, size_px: int) -> dict[str, list[float]]:
    """Memory in MiB of each of KINDS after each tenth of the photos."""
    loaded = load_run(folder, device="cpu")
    loaded.segmenter.settings = replace(loaded.segmenter.settings, size_px=size_px)
    names = [name for name in pictures_in(photos) if name.endswith(PHOTO_SUFFIXES)]
    found: dict[str, list[float]] = {kind: [] for kind in KINDS}
    num_done = num_tenths = 0

    def tick(num: int) -> None:
        nonlocal num_done, num_tenths
        num_done += num
        if num_done >= num_photos * (num_tenths + 1) / TENTHS:
            num_tenths += 1
            for kind, name in KINDS.items():
                found[kind].append(status_kib(name) / 1024)

    with tempfile.TemporaryDirectory() as made:
        for place in range(num_photos):
            name = names[place % len(names)]
            link = Path(made) / "photos" / f"{place:06d}{Path(name).suffix}"
            link.parent.mkdir(exist_ok=True)
            os.symlink((photos / name).resolve(), link)  # noqa: PTH211
        task = Task(
            photos=named_photos([Path(made) / "photos"]),
            out=SegmentFolder(Path(made) / "out"),
            segmenter=loaded.segmenter,
            classes=loaded.classes,
            about_classes="",
            sizes=Sizes(size_px=size_px, stride=loaded.segmenter.encoder.backbone.stride),
        )
        segment_photos(task, num_workers=1, tick=tick)
    return found


def rows_of(found: dict[str, list[float]], *, num_photos: int, size_px: int) -> list[Measurement]:
    """Of each kind the memory after the first tenth, and how much more there is after each later one."""

    def row(values: Sequence[float], *, kind: str, mode: str, metric: str) -> Measurement:
        shape = f"{num_photos:,} photos at {size_px} px"
        cpu = torch.device("cpu")
        return measurement(values, benchmark="segment memory", provider=kind, mode=mode, shape=shape, metric=metric, unit="MiB", device=cpu)

    rows = []
    for kind, values in found.items():
        rows.append(row(values[:1], kind=kind, mode=f"after {num_photos // TENTHS:,}", metric="memory"))
        rows += [
            row([value - values[0]], kind=kind, mode=f"after {num_photos * (tenth + 2) // TENTHS:,}", metric="growth") for tenth, value in enumerate(values[1:])
        ]
    return rows


def main(
    folder: Annotated[Path, typer.Argument(metavar="RUN", help="A run with a catalogue.")],
    photos: Annotated[Path | None, typer.Argument(help="A folder of photos; photos are generated without one.", show_default=False)] = None,
    num_photos: Annotated[int, typer.Option("--photos", min=TENTHS, help="How many, repeated where there are fewer.")] = 2000,
    size: Annotated[int, typer.Option(min=8, help="Side in px that photos are resized to; small, for it is not the network that could grow.")] = 64,
    json: Annotated[Path | None, typer.Option(help="Write all rows to this file.")] = None,
) -> None:
    """Memory while many photos are segmented."""
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as made:
        if photos is None:
            make_photos(Path(made), num=min(NUM_DISTINCT, num_photos))
        found = memory_mib(folder, photos=photos or Path(made), num_photos=num_photos, size_px=size)
    publish(rows_of(found, num_photos=num_photos, size_px=size), json_path=json)


def quick(folder: Path) -> list[str]:
    """Arguments of `--quick`."""
    run_folder, _, _ = inputs.catalogued_run(folder)
    photos, _ = inputs.photos_and_masks(folder / "pictures", num_photos=4)
    return [run_folder, photos, "--photos", "60"]


if __name__ == "__main__":
    run(main, quick=quick)
