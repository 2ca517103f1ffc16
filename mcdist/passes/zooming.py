"""The story of a zoom store: every object of a shard folder cut out, enlarged and seen by the frozen backbone, each rank its share of the photos."""

import time
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import torch

from mcdist import build
from mcdist.config import Config
from mcdist.data.bad_samples import stand_in
from mcdist.data.loader import read_sample
from mcdist.data.readers.content import content_of
from mcdist.data.readers.reader import SampleReader
from mcdist.data.shards.digest import bytes_digest
from mcdist.data.shards.sample import decode_sample
from mcdist.distributed import World
from mcdist.errors import ShardError
from mcdist.model.backbones.backbone import Backbone
from mcdist.model.backbones.fold import fold_norms
from mcdist.model.weights_digest import weights_digest
from mcdist.passes.extraction import begun
from mcdist.ranks.agree import all_together, lost_ranks_explained, run_on_first
from mcdist.ranks.join import leave_world
from mcdist.report.console import Console
from mcdist.report.image_progress import ImageProgress
from mcdist.resilience.claim import Claim
from mcdist.store.plan import StorePlan
from mcdist.store.store import FeatureStore
from mcdist.store.writer import StoreWriter, begin_store, find_store
from mcdist.zoom.extract import ZOOM_VERSION, extract_zoom, finish_zoom
from mcdist.zoom.photos import ReadPhoto
from mcdist.zoom.tables import aliases

Result = TypeVar("Result")

CHUNK_MAX, CHUNK_MIN, NUM_CHUNKS = 128, 8, 16
"""Photos of a chunk: a killed extraction repeats at most one, and a small set still has chunks for several ranks."""


@dataclass(frozen=True, slots=True)
class ZoomTask:
    """What is to be zoomed: the objects of `reader`, which `location` names, by `backbone`, into `folder` as `plan` says.

    `made_in`: where the files of the store are made before they are renamed; None for the store's own folder. `claim`: rank 0's hold of the run that
    the store belongs to, where it belongs to one.
    """

    config: Config
    reader: SampleReader
    location: str
    backbone: Backbone
    plan: StorePlan
    folder: Path
    made_in: Path | None = None
    claim: Claim | None = None


@dataclass(frozen=True, slots=True)
class ReadPhotos:
    """Photos of a shard folder by index. With `skip_bad` a photo that cannot be read has no object, as in training; else it ends the extraction."""

    reader: SampleReader
    skip_bad: bool

    def __call__(self, index: int) -> ReadPhoto:
        """Raises ShardError for a damaged sample, unless it is skipped."""
        try:
            return ReadPhoto(read_sample(self.reader, index))
        except ShardError:
            if not self.skip_bad:
                raise
            return ReadPhoto(decode_sample(stand_in(f"bad sample {index}")), is_bad=True)


def zoom_shards(config: Config, *, shards: str = "", out: Path) -> FeatureStore | None:
    """Zoom the objects of `shards`, else of data.train, into the store `out`. None on all ranks but the first.

    Raises:
        ConfigError: no such shards, settings or weights, or `out` holds something else.
        CheckpointError, DataError, MachineError: as `mcdist.zoom.extract`.
    """
    world = build.build_world(config)
    try:
        with lost_ranks_explained(world=world):
            build.prepare_process(config, world=world)
            location = shards or config.data.train
            reader = build.open_reader(location, key="--shards" if shards else "data.train", data=config.data)
            task = zoom_task(config, reader, location=location, folder=out, device=world.device)
            mode = config.report.console if world.is_first else "off"
            with Console(mode=mode, total_steps=len(reader), samples_per_step=1, noun="photo") as console:
                progress = ImageProgress(console, total=len(reader), num_ranks=world.num_ranks)
                zoomed(task, world=world, console=console, on_progress=progress)
            return FeatureStore(out) if world.is_first else None
    finally:
        leave_world()


def zoom_task(
    config: Config, reader: SampleReader, *, location: str, folder: Path, device: torch.device, made_in: Path | None = None, claim: Claim | None = None
) -> ZoomTask:
    """The backbone that `config` starts from, and what a store of its zoomed objects is made of."""
    backbone, settings = build.build_zoom_backbone(config, device=device), build.zoom_settings(config, device=device)
    plan = StorePlan(
        checkpoint={"weights": weights_digest(backbone)},
        data=_data_of(reader),
        settings={
            "version": ZOOM_VERSION,
            "backbone": config.model.backbone,
            "size_px": settings.size_px,
            "margin": settings.margin,
            "background": settings.background,
            "num_views": settings.num_views,
            "max_objects": settings.max_objects,
            "bad_samples": config.data.bad_samples,
        },
        num_photos=len(reader),
        chunk=max(CHUNK_MIN, min(CHUNK_MAX, len(reader) // NUM_CHUNKS)),
        aliases=aliases(backbone),
        about={"dataset": location, "weights": config.model.weights, "device": device.type},
    )
    return ZoomTask(config, reader, location=location, backbone=backbone, plan=plan, folder=folder, made_in=made_in, claim=claim)


def zoomed(
    task: ZoomTask,
    *,
    world: World,
    console: Console,
    on_progress: Callable[[int, int], None],
    should_stop: Callable[[], bool] = lambda: False,
) -> bool:
    """Whether the store is complete in `task.folder`: one that is there and fits, or a new one, for which each rank zooms its chunks.

    Called by all ranks. False where `should_stop` ended it on some rank; the same call goes on.

    Raises:
        ConfigError: the folder holds something else.
        CheckpointError, DataError, MachineError: as `mcdist.zoom.extract`.
        SupersededError: a newer start holds the run.
    """
    found = find_store([task.folder], plan=task.plan) if world.is_first else None
    if world.begin_any(found is not None)():
        console.say(f"using the zoomed objects in {task.folder}, which were made of the same weights, photos and settings")
        return True
    config, settings = task.config, build.zoom_settings(task.config, device=world.device)
    run_on_first(lambda: _fenced(task, lambda: begin_store(task.folder, plan=task.plan, made_in=task.made_in)), world=world)
    writer = StoreWriter(task.folder, plan=begun(task.folder), made_in=task.made_in)
    num_before = run_on_first(lambda: writer.num_photos, world=world) or 0
    before = f"; {num_before:,} photos are done" if num_before else ""
    console.say(f"zooming the objects of {len(task.reader):,} photos of {task.location} through {config.model.backbone} into {task.folder}{before}")
    began_s = time.monotonic()
    blank = torch.zeros((1, 3, settings.size_px, settings.size_px), device=world.device)
    fold_norms(task.backbone, image=blank)
    is_complete = all_together(
        lambda: _fenced(
            task,
            lambda: extract_zoom(
                ReadPhotos(task.reader, skip_bad=config.data.bad_samples == "skip"),
                writer=writer,
                backbone=task.backbone,
                settings=settings,
                device=world.device,
                part=world.rank,
                num_parts=world.num_ranks,
                num_workers=config.data.num_workers,
                on_progress=on_progress,
                should_stop=should_stop,
            ),
        ),
        world=world,
    )
    if world.begin_any(not is_complete)():
        return False
    store = run_on_first(lambda: _fenced(task, lambda: finish_zoom(writer, backbone=task.backbone, num_views=task.plan.settings["num_views"])), world=world)
    if store is not None:
        console.say(_said(store, photos_per_s=(store.num_photos - num_before) / max(time.monotonic() - began_s, 1e-9)))
    return True


def _data_of(reader: SampleReader) -> dict[str, Any]:
    """What identifies photos and masks. A run goes on with its samples in another format, so bytes count only where the digest knows keys alone."""
    known = {"samples": content_of(reader).digest, "num_photos": len(reader)}
    return known if "items" in reader.manifest.options else {**known, "bytes": bytes_digest(reader.manifest)}


def _fenced(task: ZoomTask, do: Callable[[], Result]) -> Result:
    """`do`, whose failure is a SupersededError where a newer start holds the run."""
    with task.claim.fenced() if task.claim else nullcontext():
        return do()


def _said(store: FeatureStore, *, photos_per_s: float) -> str:
    dropped, bad = (int(store.column("photos", name).read().sum()) for name in ("dropped", "bad"))
    rest = f"; {dropped:,} objects beyond the limit of objects a photo are left out" if dropped else ""
    rest += f"; {bad:,} photos could not be read and have none" if bad else ""
    return f"zoomed {store.num_rows('objects'):,} objects of {store.num_photos:,} photos: {photos_per_s:.1f} photos/s{rest}"
