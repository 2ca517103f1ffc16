"""How many photos a second are segmented, and where does the time go?

    python -m benchmarks.segment.segment RUN PHOTOS --size 320 --json benchmarks/segment/results/segment.json

The first photos of a folder go through the stages of `mcdist segment` one after another in this process, so that each has a time of its own; the command
itself decodes in a worker process and draws and writes in threads, beside the network. The network is timed as it was trained and as `mcdist segment` uses
it: norms folded, dilated blocks interleaved. Features that differ by more than 1e-4 of the largest one are refused.
"""

import json as json_text
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import torch
import typer

from benchmarks.harness import inputs
from benchmarks.harness.command import run
from benchmarks.harness.measurement import Measurement, measurement, publish
from benchmarks.zoom.zoom import Clock
from mcdist.data.pictures.folder import pictures_in
from mcdist.data.pictures.png import encode_palette_png
from mcdist.errors import DataError
from mcdist.loading import load_run
from mcdist.segments.drawing import map_colours, overlay_jpeg
from mcdist.segments.photo_files import PhotoImage, Sizes, read_image
from mcdist.segments.segmenter import Segmenter, at_own_size
from mcdist.trained import load_encoder

DIFFERENCE_MAX = 1e-4
QUICK, TRAINED = "network", "network, as it was trained"
STAGES = ("read, decode, resize", QUICK, "objects and vectors", "map at own size", "map as PNG", "overlay as JPEG", "JSON")


def timed(folder: Path, *, photos: Path, num_photos: int, size_px: int, repeats: int) -> tuple[dict[str, list[float]], float]:
    """(processor ms a photo of each stage in each of `repeats` runs, segments a photo)."""
    loaded = load_run(folder, device="cpu")
    quick, classes = loaded.segmenter, loaded.classes
    quick.settings = replace(quick.settings, size_px=size_px)
    trained = Segmenter(load_encoder(folder), settings=quick.settings, num_groups=quick.num_groups, device=quick.device)
    sizes = Sizes(size_px=size_px, stride=quick.encoder.backbone.stride)
    names = pictures_in(photos)[:num_photos]
    rows: dict[str, list[float]] = {}
    for _ in range(repeats):
        clock = Clock()
        with clock.stage(STAGES[0]):
            read = [read_image(photos / name, sizes=sizes) for name in names]
        sound = [photo for photo in read if isinstance(photo, PhotoImage) and photo.shown is not None]
        batches = torch.stack([photo.image for photo in sound]).split(quick.settings.batch)
        with clock.stage(QUICK):
            looked = [quick.look(images) for images in batches]
        with clock.stage(TRAINED):
            as_trained = [trained.look(images) for images in batches]
        for one, other in zip(looked, as_trained, strict=True):
            difference = float((one.features - other.features).abs().max() / other.features.abs().max())
            if difference > DIFFERENCE_MAX:
                raise DataError(f"the features of the network made faster differ by {difference:.2g}, expected at most {DIFFERENCE_MAX:g}")
        with clock.stage(STAGES[2]):
            found = [objects for one in looked for objects in quick.find(one, height=size_px, width=size_px)]
        with clock.stage(STAGES[3]):
            done = [at_own_size(objects, classes=classes, height=photo.height, width=photo.width) for objects, photo in zip(found, sound, strict=True)]
        with clock.stage(STAGES[4]):
            for segmented in done:
                encode_palette_png(segmented.class_map, colours=map_colours())
        with clock.stage(STAGES[5]):
            for segmented, photo in zip(done, sound, strict=True):
                assert photo.shown is not None
                overlay_jpeg(photo.shown, segmented=segmented)
        with clock.stage(STAGES[6]):
            for segmented in done:
                json_text.dumps(segmented.to_json("photo"))
        whole = sum(clock.cpu_s[stage] for stage in STAGES)
        for stage, cpu_s in {**clock.cpu_s, "whole": whole}.items():
            rows.setdefault(stage, []).append(1000 * cpu_s / len(sound))
    return rows, sum(len(segmented.segments) for segmented in done) / len(done)


def rows_of(times_ms: dict[str, list[float]], *, shape: str, provider: str) -> list[Measurement]:
    """A row for each stage, and the photos a second of processor time."""
    cpu = torch.device("cpu")
    rows = [
        measurement(values, benchmark="segment", provider=provider, mode=stage, shape=shape, metric="processor time a photo", unit="ms", device=cpu)
        for stage, values in times_ms.items()
    ]
    speeds = [1000 / value for value in times_ms["whole"]]
    rows.append(measurement(speeds, benchmark="segment", provider=provider, mode="whole", shape=shape, metric="photos a core", unit="1/s", device=cpu))
    return rows


def main(
    folder: Annotated[Path, typer.Argument(metavar="RUN", help="A run with a catalogue.")],
    photos: Annotated[Path, typer.Argument(help="A folder, whose first photos are segmented.")],
    num_photos: Annotated[int, typer.Option("--photos", min=1, help="How many photos.")] = 32,
    size: Annotated[int, typer.Option(min=8, help="Side in px that photos are resized to.")] = 320,
    repeats: Annotated[int, typer.Option(min=1, help="Runs.")] = 3,
    json: Annotated[Path | None, typer.Option(help="Write all rows to this file.")] = None,
) -> None:
    """Processor time of each stage of segmenting, on one thread."""
    torch.set_num_threads(1)
    times_ms, num_segments = timed(folder, photos=photos, num_photos=num_photos, size_px=size, repeats=repeats)
    name = load_run(folder, device="cpu").config.model.backbone
    publish(rows_of(times_ms, shape=f"{num_photos} photos at {size} px, {num_segments:.1f} segments a photo", provider=name), json_path=json)


def quick(folder: Path) -> list[str]:
    """Arguments of `--quick`."""
    run_folder, _, _ = inputs.catalogued_run(folder)
    photos, _ = inputs.photos_and_masks(folder / "pictures", num_photos=4)
    return [run_folder, photos, "--size", "128", "--repeats", "1"]


if __name__ == "__main__":
    run(main, quick=quick)
