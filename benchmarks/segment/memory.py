"""Does the memory of `mcdist segment` grow with the number of photos?

    python -m benchmarks.segment.memory RUN PHOTOS --photos 2000 --size 64

The photos of a folder, linked under new names until there are enough, are segmented by this process and one that decodes. Resident memory of this process
is read after each tenth; the first tenth, in which libraries allocate what they keep, is the one that others are compared with.
"""

import os
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import torch
import typer

from benchmarks.harness import inputs
from benchmarks.harness.command import run
from benchmarks.harness.measurement import Measurement, measurement, publish, status_kib
from mcdist.data.pictures.folder import PHOTO_SUFFIXES, pictures_in
from mcdist.loading import load_run
from mcdist.segments.named_photos import named_photos
from mcdist.segments.out import SegmentFolder
from mcdist.segments.photo_files import Sizes
from mcdist.segments.segment_photos import Task, segment_photos

TENTHS = 10


def resident_mib(folder: Path, *, photos: Path, num_photos: int, size_px: int) -> list[float]:
    """Resident memory in MiB after each tenth of the photos."""
    loaded = load_run(folder, device="cpu")
    loaded.segmenter.settings = replace(loaded.segmenter.settings, size_px=size_px)
    names = [name for name in pictures_in(photos) if name.endswith(PHOTO_SUFFIXES)]
    found: list[float] = []
    num_done = 0

    def tick(num: int) -> None:
        nonlocal num_done
        num_done += num
        if num_done >= num_photos * (len(found) + 1) / TENTHS:
            found.append(status_kib("VmRSS") / 1024)

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


def rows_of(found: list[float], *, shape: str) -> list[Measurement]:
    """The growth after the first tenth, and the memory then."""
    cpu = torch.device("cpu")
    growth = [value - found[0] for value in found[1:]]
    return [
        measurement(
            found[:1], benchmark="segment memory", provider="mcdist segment", mode="after a tenth", shape=shape, metric="resident", unit="MiB", device=cpu
        ),
        measurement(growth, benchmark="segment memory", provider="mcdist segment", mode="after", shape=shape, metric="growth", unit="MiB", device=cpu),
        measurement(
            growth[-1:], benchmark="segment memory", provider="mcdist segment", mode="at the end", shape=shape, metric="growth", unit="MiB", device=cpu
        ),
    ]


def main(
    folder: Annotated[Path, typer.Argument(metavar="RUN", help="A run with a catalogue.")],
    photos: Annotated[Path, typer.Argument(help="A folder of photos.")],
    num_photos: Annotated[int, typer.Option("--photos", min=TENTHS, help="How many, repeated where there are fewer.")] = 2000,
    size: Annotated[int, typer.Option(min=8, help="Side in px that photos are resized to; small, for it is not the network that could grow.")] = 64,
    json: Annotated[Path | None, typer.Option(help="Write all rows to this file.")] = None,
) -> None:
    """Resident memory while many photos are segmented."""
    torch.set_num_threads(1)
    found = resident_mib(folder, photos=photos, num_photos=num_photos, size_px=size)
    publish(rows_of(found, shape=f"{num_photos:,} photos at {size} px"), json_path=json)


def quick(folder: Path) -> list[str]:
    """Arguments of `--quick`."""
    run_folder, _, _ = inputs.catalogued_run(folder)
    photos, _ = inputs.photos_and_masks(folder / "pictures", num_photos=4)
    return [run_folder, photos, "--photos", "60"]


if __name__ == "__main__":
    run(main, quick=quick)
