"""The story of a cache of views: where the backbone is frozen, each photo's views go through it once, each rank its share, and every epoch reads them."""

import copy
import shutil
from collections.abc import Callable
from contextlib import closing
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from mcdist import build
from mcdist.config import Config
from mcdist.data.loader import load_requests
from mcdist.data.photo_views import PhotoViews
from mcdist.data.readers.content import Content
from mcdist.data.readers.reader import SampleReader
from mcdist.data.shards.digest import bytes_digest
from mcdist.errors import DataError, MachineError
from mcdist.evaluate.extract.encoders import evaluating
from mcdist.location import expand_variables
from mcdist.model.inference import quicken_backbone
from mcdist.model.weights_digest import weights_digest
from mcdist.ranks.agree import all_together, run_on_first
from mcdist.report.console import Console
from mcdist.report.image_progress import ImageProgress
from mcdist.run_dir import RunDir
from mcdist.store.manifest import read_manifest
from mcdist.store.names import PHOTOS
from mcdist.store.plan import StorePlan, read_plan
from mcdist.store.store import FeatureStore
from mcdist.store.writer import StoreWriter, begin_store
from mcdist.train.engines.engine import DTYPES
from mcdist.train.state import TrainState
from mcdist.view_cache.drawn import DrawnViews
from mcdist.view_cache.layout import COLUMNS, ViewLayout
from mcdist.view_cache.make import Look, make_chunk, requests_of
from mcdist.view_cache.views import CachedViews

CACHE_VERSION = 2
"""Raised whenever the same shards, views and backbone would give other arrays, so that no older cache is taken for a new one."""
SPARE_BYTES = 2**28
"""Left free on the disk, for checkpoints."""


@dataclass(frozen=True, slots=True)
class _Cached:
    """What is cached: the views of `reader`'s photos, through the backbone of `state`."""

    config: Config
    reader: SampleReader
    state: TrainState
    layout: ViewLayout

    def bytes_of(self, num_photos: int) -> int:
        """Of so many photos."""
        return num_photos * self.layout.photo_bytes

    def views_of(self, num_photos: int) -> int:
        """How many views so many photos have."""
        return num_photos * self.layout.num_pairs * self.layout.num_views


def cache_views(
    config: Config, reader: SampleReader, *, state: TrainState, run_dir: RunDir, content: Content | None, should_stop: Callable[[], bool], console: Console
) -> CachedViews | None:
    """The views of a run whose `views.cached` says so: those that are there, or new ones, of which each rank makes its chunks. Called by all ranks.

    None where views are not cached, and where a rank was asked to stop; what was made until then stays. `content`: the samples, which rank 0 knows.

    Raises:
        ConfigError, MachineError: the folder holds other files, or its disk is too small.
        ShardError, CheckpointError: a sample is damaged; a feature is not finite.
    """
    if not config.views.cached:
        return None
    world = state.world
    cached = _Cached(config, reader, state, layout_of(config, state=state))
    begun = run_on_first(lambda: begin(cached, run_dir=run_dir, content=content), world=world)
    (where,) = world.gather_texts([] if begun is None else [str(begun)])
    writer = StoreWriter(Path(where), plan=_plan_in(Path(where)))
    missing = [int(place) for place in world.gather_texts([str(place) for place in _missing(writer)] if world.is_first else [])]
    console.say(described(cached, writer, missing=missing))
    if missing:
        with console.counting("view", total=cached.views_of(_num_photos(writer, missing))):
            if not make(cached, writer, missing, should_stop=should_stop, console=console):
                return None
    run_on_first(lambda: None if read_manifest(writer.folder) else writer.finish({PHOTOS: COLUMNS}), world=world)
    return CachedViews(FeatureStore(writer.folder), reader=reader)


def layout_of(config: Config, *, state: TrainState) -> ViewLayout:
    """What the cache holds of a photo."""
    views, backbone = config.views, state.query.backbone
    grid = views.size_px // backbone.stride
    num_views = 2 if build.step_settings(config).needs_keys else 1
    return ViewLayout(num_pairs=views.cached, num_views=num_views, channels=backbone.num_channels, grid=grid, size_px=views.size_px, dtype=views.cache_dtype)


def begin(cached: _Cached, *, run_dir: RunDir, content: Content | None) -> Path:
    """The cache's folder, with its plan and with room for what is missing. Called by rank 0."""
    assert content is not None
    plan, views = plan_of(cached, content=content), cached.config.views
    folder = (expand_variables(views.cache_dir, key="views.cache_dir") if views.cache_dir else run_dir.views) / plan.key
    writer = StoreWriter(folder, plan=begin_store(folder, plan=plan, setting="views.cache_dir=PATH"))
    check_disk(folder, num_bytes=cached.bytes_of(_num_photos(writer, _missing(writer))), num_pairs=views.cached)
    return folder


def plan_of(cached: _Cached, *, content: Content) -> StorePlan:
    """What a cache must be made of. The device decides rounding only, so it may be another one."""
    config, layout = cached.config, cached.layout
    return StorePlan(
        checkpoint={"backbone": config.model.backbone, "num_stages": config.model.num_stages, "weights": weights_digest(cached.state.query.backbone)},
        data={"samples": content.digest, "bytes": bytes_digest(cached.reader.manifest), "num_photos": len(cached.reader)},
        settings={
            "version": CACHE_VERSION,
            "views": asdict(build.view_settings(config)),
            "layout": asdict(layout),
            "seed": config.run.seed,
            "decode": config.data.decode,
            "bad_samples": config.data.bad_samples,
            "precision": config.optim.precision,
        },
        num_photos=len(cached.reader),
        chunk=layout.chunk,
        about={"dataset": content.where, "device": cached.state.world.device.type},
    )


def check_disk(folder: Path, *, num_bytes: int, num_pairs: int) -> None:
    """Raise MachineError where the disk of `folder` has no room for so many bytes."""
    free = max(0, shutil.disk_usage(folder).free - SPARE_BYTES)
    if num_bytes > free:
        raise MachineError(
            f"views.cached={num_pairs} needs {num_bytes / 2**30:.3g} GiB at {folder}, its disk has {free / 2**30:.3g} GiB free; "
            "lower views.cached or views.size_px, or set views.cache_dir to a folder on a larger disk"
        )


def described(cached: _Cached, writer: StoreWriter, *, missing: list[int]) -> str:
    """The cache in a sentence, before its missing chunks are made."""
    num_photos, num_missing = writer.plan.num_photos, _num_photos(writer, missing)
    views = "pairs of views" if cached.layout.num_views == 2 else "views"
    what = f"{cached.layout.num_pairs} {views} of {num_photos:,} photos, {cached.bytes_of(num_photos) / 2**30:.3g} GiB, in {writer.folder}"
    if not missing:
        return f"training on cached views: {what}"
    return f"caching {what}" + (f"; {num_photos - num_missing:,} photos are done" if num_missing < num_photos else "")


def make(cached: _Cached, writer: StoreWriter, missing: list[int], *, should_stop: Callable[[], bool], console: Console) -> bool:
    """Write the missing chunks, each rank one at a time, until all are there or any rank is asked to stop. Returns whether they are there."""
    config, layout, world = cached.config, cached.layout, cached.state.world
    backbone = quicken_backbone(copy.deepcopy(cached.state.query.backbone), size_px=layout.size_px)
    own = missing[world.rank :: world.num_ranks]
    views = PhotoViews(cached.reader, views=build.view_settings(config), seed=config.run.seed, decode=config.data.decode, bad_samples=config.data.bad_samples)
    requests = (batch for place in list(own) for batch in requests_of(writer.plan.chunks[place], layout=layout))
    drawn: Any = load_requests(DrawnViews(views), batches=requests, num_workers=config.data.num_workers, prefetch=config.data.prefetch)
    look = Look(backbone, num_views=layout.num_views, device=world.device, mean=backbone.mean, std=backbone.std)
    progress = ImageProgress(console, total=cached.views_of(_num_photos(writer, missing)), num_ranks=world.num_ranks)
    num_done, num_own = 0, cached.views_of(_num_photos(writer, own))

    def on_views(num: int) -> None:
        nonlocal num_done
        num_done += num
        progress(num_done, num_own)

    def write_next() -> None:
        if own:
            place = own.pop(0)
            chunk = make_chunk(batches, num_photos=len(writer.plan.chunks[place]), layout=layout, look=look, on_views=on_views)
            writer.write(place, chunk)

    precision = DTYPES[config.optim.precision]
    autocast = torch.autocast(world.device.type, dtype=precision, enabled=precision is not torch.float32)
    with closing(iter(drawn)) as batches, evaluating(backbone), autocast:
        for _ in range(0, len(missing), world.num_ranks):
            if world.begin_any(should_stop())():
                return False
            all_together(write_next, world=world)
    return True


def _missing(writer: StoreWriter) -> list[int]:
    return [place for place in range(len(writer.plan.chunks)) if not writer.has(place)]


def _num_photos(writer: StoreWriter, places: list[int]) -> int:
    chunks = writer.plan.chunks
    return sum(len(chunks[place]) for place in places)


def _plan_in(folder: Path) -> StorePlan:
    plan = read_plan(folder)
    if plan is None:
        raise DataError(f"rank 0 began a cache of views at {folder}, this rank does not see it; set views.cache_dir to a folder that all nodes share")
    return plan
