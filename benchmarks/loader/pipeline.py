"""How many photos a second do loaders of two views reach on one core, side by side on the same photos?

    python -m benchmarks.loader.pipeline photos masks --json data_pipeline.json

Every provider gets each figure in a clean process of its own, on one core without worker processes, and takes turns with the others, so
that what else the machine does falls on all; there the seconds are those of the core's work. `--workers` adds rows with worker processes on
all cores, in seconds of the clock. Each is checked before it is
timed, on generated photos that are bright where an object is. Two views a photo of the default configuration's size. The ceiling is
libjpeg-turbo decoding the photo and nothing else. The files are read again and again: the disk is not measured.
"""

import json as json_module
import os
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import numpy
import torch
import typer
from PIL import Image

from benchmarks.harness import inputs
from benchmarks.harness.command import run
from benchmarks.harness.measurement import ROOT, Measurement, measurement, publish
from benchmarks.harness.progress import say
from benchmarks.loader.providers import CEILING, PAPER, PROVIDERS
from benchmarks.loader.source import Source
from mcdist.errors import ConfigError, DataError, MachineError

NUM_CHECK_PHOTOS = 16
SHARD_SIZE = 32
TRIAL_TIMEOUT_S = 600

Trial = Callable[..., dict[str, Any]]


def run_trial(name: str, source: Source, **options: Any) -> dict[str, Any]:
    """`trial.py` in a process of its own, with one thread for every library."""
    arguments = [part for option, value in options.items() for part in _argument(option, value)]
    command = [sys.executable, "-m", "benchmarks.loader.trial", name, str(source.folder), *arguments, "--began-s", str(time.monotonic())]
    settings = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS"), "1")
    settings["PYTHONPATH"] = os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
    settings["TYPER_STANDARD_TRACEBACK"] = "1"  # its last line is the error's own, whatever the width of a terminal
    done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, **settings}, timeout=TRIAL_TIMEOUT_S)
    if done.returncode:
        raise MachineError(f"{name} could not be measured: {done.stderr.strip().splitlines()[-1] if done.stderr.strip() else done.returncode}")
    return json_module.loads(done.stdout.strip().splitlines()[-1])


def _argument(option: str, value: Any) -> list[str]:
    flag = f"--{option.replace('_', '-')}"
    return [flag] if value is True else [flag, str(value)]


def prepare(source: Source, *, names: list[str]) -> None:
    """The other forms of `source`, from its photos and masks, as far as the providers need them."""
    _build_shards(source, out=source.webdataset)
    if "FFCV two crops, no map" in names:
        _write_two_crops(source)
    if "streaming + v2" in names:
        _write_streaming(source)
    for kept in ("jpg", "raw"):
        if f"mcdist FFCV {kept}" in names:
            _build_shards(source, out=source.ffcv(kept), options=["--format", "ffcv", "--ffcv-photo", kept])


def _build_shards(source: Source, *, out: Path, options: list[str] | None = None) -> None:
    build = [sys.executable, "-m", "shards", "build", "folder", str(source.photos), "--masks", str(source.masks), "--out", str(out)]
    done = subprocess.run([*build, "--shard-size", str(SHARD_SIZE), *(options or [])], capture_output=True, text=True)
    if done.returncode:
        raise DataError(f"{out.name} could not be built: {done.stderr.strip()[-300:]}")


def _write_two_crops(source: Source) -> None:
    from ffcv.fields import RGBImageField
    from ffcv.writer import DatasetWriter

    photos = [numpy.asarray(Image.open(path).convert("RGB")) for path in sorted(source.photos.iterdir())]
    writer = DatasetWriter(str(source.two_crops), {name: RGBImageField(write_mode="jpg") for name in ("first", "second")}, num_workers=1)
    writer.from_indexed_dataset([(photo, photo) for photo in photos])


def _write_streaming(source: Source) -> None:
    from streaming import MDSWriter

    with MDSWriter(out=str(source.streaming), columns={"photo": "bytes", "mask": "bytes"}) as writer:
        for path in sorted(source.photos.iterdir()):
            writer.write({"photo": path.read_bytes(), "mask": (source.masks / f"{path.stem}.png").read_bytes()})


def generate_check(folder: Path) -> Source:
    """Photos with a bright ellipse on dark ground, and its map."""
    source = Source(folder)
    source.photos.mkdir(parents=True)
    source.masks.mkdir()
    rows, columns = numpy.ogrid[:240, :320]
    for number in range(NUM_CHECK_PHOTOS):
        inside = ((rows - 100 - 3 * number) / 70) ** 2 + ((columns - 120 - 6 * number) / 90) ** 2 < 1
        Image.fromarray(numpy.where(inside[..., None], [230, 220, 210], [20, 30, 40]).astype(numpy.uint8)).save(source.photos / f"{number}.jpg", quality=95)
        Image.fromarray(inside.astype(numpy.uint8)).save(source.masks / f"{number}.png")
    return source


def link_photos(folder: Path, *, photos: Path, masks: Path) -> Source:
    """The photos to measure, under one folder. Raises DataError where there are none."""
    if not photos.is_dir() or not masks.is_dir() or not any(photos.glob("*.jpg")):
        raise DataError(f"expected a folder of .jpg photos and one of .png masks, found none at {photos} and {masks}")
    source = Source(folder)
    folder.mkdir()
    source.photos.symlink_to(photos.resolve())
    source.masks.symlink_to(masks.resolve())
    return source


def choose(names: list[str] | None) -> list[str]:
    """The providers asked for, or all; one line for each that is not installed."""
    unknown = [name for name in names or [] if name not in PROVIDERS]
    if unknown:
        raise ConfigError(f"--provider wants one of {', '.join(PROVIDERS)}; got {unknown[0]!r}")
    for name, provider in PROVIDERS.items():
        if provider.missing() and name in (names or PROVIDERS):
            print(f"{name} is left out: {provider.missing()} is not installed")
    return [name for name, provider in PROVIDERS.items() if name in (names or PROVIDERS) and not provider.missing()]


def rows_of(found: dict[str, list[dict[str, Any]]], *, num_workers: int, shape: str) -> list[Measurement]:
    """Rates; without workers also what they are beside the paper's style and the ceiling in the same turn, memory and starts."""
    mode = f"{num_workers} workers" if num_workers else "one core"
    row = partial(measurement, benchmark="data_pipeline", mode=mode, shape=f"{shape}, {mode}", device=torch.device("cpu"))
    rates = {name: [float(numpy.median(turn["rates"])) for turn in turns] for name, turns in found.items()}
    rows = [row(values, provider=name, metric="photos", unit="1/s") for name, values in rates.items()]
    for base, metric, unit, factor in ((PAPER, f"beside {PAPER}", "x", 1), (CEILING, "share of the ceiling", "%", 100)):
        if base in rates:
            shares = {name: [factor * rate / other for rate, other in zip(values, rates[base], strict=True)] for name, values in rates.items()}
            rows += [row(values, provider=name, metric=metric, unit=unit) for name, values in shares.items()]
    if not num_workers:
        for key, metric, unit in (("peak_mib", "peak memory", "MiB"), ("cold_s", "first batch, cold", "s"), ("warm_s", "first batch, warm", "s")):
            rows += [row([turn[key] for turn in turns], provider=name, metric=metric, unit=unit) for name, turns in found.items()]
    return rows


def measured(
    names: list[str], *, source: Source, workers: list[int], num_runs: int, batch: int, size_px: int, stretch_s: float, folder: Path
) -> list[Measurement]:
    """Rows of the providers, each checked first, with each number of workers. `folder`: for the photos of the check."""
    rows: list[Measurement] = []
    known = generate_check(folder / "check")
    for each in (source, known):
        prepare(each, names=names)
    for name in names:
        run_trial(name, known, check=True, size_px=size_px, batch=NUM_CHECK_PHOTOS)
        say(f"{name} gives two views that fit their maps")
    for num_workers in workers:
        taking_part = [name for name in names if PROVIDERS[name].workers or not num_workers]
        found: dict[str, list[dict[str, Any]]] = defaultdict(list)
        for turn in range(num_runs):
            for name in taking_part:
                found[name].append(run_trial(name, source, batch=batch, size_px=size_px, workers=num_workers, stretch_s=stretch_s))
                say(f"turn {turn + 1} of {num_runs}, {num_workers} workers, {name}: {numpy.median(found[name][-1]['rates']):,.0f} photos/s")
        rows += rows_of(found, num_workers=num_workers, shape=f"two views of {size_px} px, batch {batch}")
    return rows


def main(
    photos: Annotated[Path, typer.Argument(help="A folder of .jpg photos.", show_default=False)],
    masks: Annotated[Path, typer.Argument(help="A folder of instance maps, the photo's name with .png.", show_default=False)],
    provider: Annotated[list[str] | None, typer.Option(help="Only this one; give it again for more.")] = None,
    workers: Annotated[list[int] | None, typer.Option(min=0, help="Worker processes; give it again for more rows. 0: one core.")] = None,
    batch: Annotated[int, typer.Option(min=1, help="Photos a batch.")] = 16,
    size_px: Annotated[int, typer.Option(min=8, help="Height and width of a view.")] = 224,
    num_runs: Annotated[int, typer.Option(min=1, help="Turns, each of all providers.")] = 5,
    stretch_s: Annotated[float, typer.Option(min=0.01, help="Seconds of a stretch; a turn is the median of three.")] = 1.0,
    json: Annotated[Path | None, typer.Option(help="Write the rows to this file.")] = None,
) -> None:
    """Photos a second, two views and maps each, by provider: one core, then by worker processes."""
    with tempfile.TemporaryDirectory() as folder:
        source = link_photos(Path(folder) / "real", photos=photos, masks=masks)
        rows = measured(
            choose(provider),
            source=source,
            workers=workers or [0, 1, 2],
            num_runs=num_runs,
            batch=batch,
            size_px=size_px,
            stretch_s=stretch_s,
            folder=Path(folder),
        )
    publish(rows, json_path=json)


def quick(folder: Path) -> list[str]:
    """Arguments of `--quick`."""
    few = ("PIL + torchvision", "libjpeg-turbo decode", "webdataset + v2", "mcdist")
    providers = [word for name in few for word in ("--provider", name)]
    return [*inputs.photos_and_masks(folder, num_photos=32), "--workers", "0", "--num-runs", "1", "--stretch-s", "0.3", *providers]


if __name__ == "__main__":
    run(main, quick=quick)
