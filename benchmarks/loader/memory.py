"""Does the loader's memory depend on the number of photos, and how soon is the first batch there?

    python -m benchmarks.loader.memory --photos 2000 --photos 200000 --json loader_memory.json

Shards of tiny photos are made in a temporary folder; all tars of a set are one file under many names, so 200,000 photos need little
disk, while manifest and indexes are as large as they would be. Each set is read by a process of its own, in the order of training, and
the peak of resident memory is asked of the main process and of its largest worker. The first batch is timed from the making of the
loader, in a process that has imported everything: "cold" starts the workers' server then, "ready" has started it before, as training does.
"""

import hashlib
import io
import json as json_text
import multiprocessing
import os
import subprocess
import sys
import tarfile
import tempfile
import time
from pathlib import Path
from typing import Annotated

import numpy
import torch
import typer
from PIL import Image

from benchmarks.harness.command import run
from benchmarks.harness.measurement import ROOT, Measurement, measurement, publish
from mcdist.build import view_settings
from mcdist.config import Config, ViewsConfig
from mcdist.data.loader import make_loader, prepare_workers
from mcdist.data.pictures.png import encode_map
from mcdist.data.readers.webdataset import WebDatasetReader
from mcdist.data.shards.index import SampleEntry, encode_index, index_name
from mcdist.data.shards.manifest import Manifest, ShardEntry, write_manifest

SHARD_SIZE, PHOTO_PX, VIEW_PX = 250, 24, 16


def make_shards(folder: Path, *, num_photos: int) -> None:
    """A shard folder of `num_photos` samples, rounded up to whole shards."""
    folder.mkdir()
    samples = _write_tar(folder / "tar")
    sha256, num_bytes = hashlib.sha256((folder / "tar").read_bytes()).hexdigest(), (folder / "tar").stat().st_size
    shards = []
    for number in range(-(-num_photos // SHARD_SIZE)):
        name = f"shard-{number:06d}.tar"
        index = encode_index(name, samples=samples)
        os.link(folder / "tar", folder / name)
        (folder / index_name(name)).write_bytes(index)
        shards.append(ShardEntry(name, SHARD_SIZE, num_bytes, sha256, len(index), hashlib.sha256(index).hexdigest()))
    write_manifest(Manifest(source="benchmark", shards=tuple(shards)), folder=folder)


def _write_tar(path: Path) -> list[SampleEntry]:
    with tarfile.open(path, "w", format=tarfile.USTAR_FORMAT) as tar:
        for number in range(SHARD_SIZE):
            for name, content in _members(number).items():
                info = tarfile.TarInfo(f"a_key_as_long_as_those_of_coco_{number:012d}.{name}")
                info.size = len(content)
                tar.addfile(info, io.BytesIO(content))
    members: dict[str, dict[str, tuple[int, int]]] = {}
    with tarfile.open(path) as tar:
        for info in tar:
            key, _, name = info.name.partition(".")
            members.setdefault(key, {})[name] = (info.offset_data, info.size)
    return [SampleEntry(key=key, members=extents) for key, extents in members.items()]


def _members(number: int) -> dict[str, bytes]:
    instances = numpy.zeros((PHOTO_PX, PHOTO_PX), dtype=numpy.int16)
    instances[4:16, 4:16] = 1
    pixels = numpy.random.default_rng(number).integers(0, 256, (PHOTO_PX, PHOTO_PX, 3), dtype=numpy.uint8)
    photo = io.BytesIO()
    Image.fromarray(pixels).save(photo, format="JPEG")
    return {"jpg": photo.getvalue(), "mask.png": encode_map(instances), "json": b"{}"}


def read(folder: Path, *, num_steps: int, num_workers: int, batch: int, ready: bool) -> dict[str, float]:
    """Peak memory and time to the first batch of this process and its workers."""
    torch.set_num_threads(1)
    if ready:
        first = prepare_workers().Process(target=int)  # it is copied once the server has imported all
        first.start()
        first.join()
    began_s = time.perf_counter()
    loader = make_loader(
        WebDatasetReader(folder),
        views=view_settings(Config(views=ViewsConfig(size_px=VIEW_PX))),
        seed=0,
        global_batch=batch,
        accumulation_steps=1,
        rank=0,
        num_ranks=1,
        block=64,
        num_lanes=8,
        consumed=0,
        num_steps=num_steps,
        num_workers=num_workers,
        prefetch=2,
        pin_memory=False,
    )
    batches = iter(loader)
    next(batches)
    first_batch_s = time.perf_counter() - began_s
    for _ in range(num_steps - 2):
        next(batches)
    workers = [_peak_mib(process.pid) for process in multiprocessing.active_children() if process.pid is not None]
    return {"first_batch_s": first_batch_s, "main_mib": _peak_mib(os.getpid()), "worker_mib": max(workers, default=0.0)}


def _peak_mib(process: int) -> float:
    lines = Path(f"/proc/{process}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM:")) / 1024


def measure(num_photos: int, *, num_steps: int, num_workers: int, batch: int) -> list[Measurement]:
    """The rows of one set: read twice, each time by a fresh process."""
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary) / "shards"
        make_shards(folder, num_photos=num_photos)
        options = [f"--steps={num_steps}", f"--workers={num_workers}", f"--batch={batch}"]
        cold, ready = (_in_a_process(folder, *options, *extra) for extra in ([], ["--ready"]))
        manifest_mib = (folder / "manifest.json").stat().st_size / 2**20
    values = [
        ("main process", "peak memory", "MiB", [cold["main_mib"], ready["main_mib"]]),
        ("worker", "peak memory", "MiB", [cold["worker_mib"], ready["worker_mib"]]),
        ("manifest", "size", "MiB", [manifest_mib]),
        ("loader, server cold", "first batch", "s", [cold["first_batch_s"]]),
        ("loader, server ready", "first batch", "s", [ready["first_batch_s"]]),
    ]
    shape = f"{num_workers} workers, batch {batch}, {num_steps} steps, shards of {SHARD_SIZE}"
    mode = f"{num_photos:,} photos"
    return [
        measurement(found, benchmark="loader_memory", provider=provider, mode=mode, shape=shape, metric=metric, unit=unit, device=torch.device("cpu"))
        for provider, metric, unit, found in values
    ]


def _in_a_process(folder: Path, *options: str) -> dict[str, float]:
    command = [sys.executable, "-m", "benchmarks.loader.memory", "--folder", str(folder), *options]
    return json_text.loads(subprocess.run(command, check=True, capture_output=True, text=True, cwd=ROOT).stdout.splitlines()[-1])


def main(
    photos: Annotated[list[int] | None, typer.Option(min=1, help="Photos of a set; give it again for more rows. Default: 2000 and 200000.")] = None,
    steps: Annotated[int, typer.Option(min=2, help="Micro-batches read.")] = 500,
    workers: Annotated[int, typer.Option(min=1, help="Worker processes.")] = 2,
    batch: Annotated[int, typer.Option(min=8, help="Photos a micro-batch, a multiple of 8.")] = 64,
    json: Annotated[Path | None, typer.Option(help="Write the rows to this file.")] = None,
    folder: Annotated[Path | None, typer.Option(hidden=True)] = None,
    ready: Annotated[bool, typer.Option("--ready", hidden=True)] = False,
) -> None:
    """Peak memory of the loader's processes, and the time to its first batch, for sets of several sizes."""
    if folder is not None:
        print(json_text.dumps(read(folder, num_steps=steps, num_workers=workers, batch=batch, ready=ready)))
        return
    rows = [row for num in photos or [2000, 200_000] for row in measure(num, num_steps=steps, num_workers=workers, batch=batch)]
    publish(rows, json_path=json)


QUICK = ("--photos", "500", "--steps", "20", "--batch", "16", "--workers", "1")

if __name__ == "__main__":
    run(main, quick=QUICK)
