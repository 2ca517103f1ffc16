"""The story of segmenting: photos of any folder through a run's encoder, each rank its share, into maps, overlays and JSON."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mcdist import build
from mcdist.catalogue.catalogue import Catalogue
from mcdist.catalogue.classes import Classes
from mcdist.catalogue.names_of_run import names_of
from mcdist.config.file import load_run_config
from mcdist.errors import ConfigError, DataError
from mcdist.loading import LoadedRun, ready_run
from mcdist.proposals.folder.places import check_apart
from mcdist.ranks.agree import all_together, lost_ranks_explained
from mcdist.ranks.join import leave_world
from mcdist.run_dir import RunDir
from mcdist.segments.drawing import map_colours
from mcdist.segments.named_photos import NamedPhotos, named_photos
from mcdist.segments.out import CLASSES_FORMAT, SegmentFolder
from mcdist.segments.photo_files import Sizes
from mcdist.segments.segment_photos import Done, Task, segment_photos
from mcdist.store.plan import digest

GPU_WORKERS = 8


@dataclass(frozen=True, slots=True)
class Segmented:
    """What a run of the command did. `not_segmented`: where the photos are listed that could not be segmented, None where there were none."""

    done: Done
    num_classes: int
    not_segmented: Path | None
    wall_s: float


def segment_run(
    run_dir: RunDir,
    photos: Sequence[Path],
    *,
    out: Path,
    checkpoint: str = "",
    window_px: int = 0,
    video: bool = False,
    overlays: bool = True,
    device: str = "auto",
    num_workers: int | None = None,
    part: int = 1,
    num_parts: int = 1,
    overwrite: bool = False,
    say_total: Callable[[int], None] = lambda num: None,
    tick: Callable[[int], None] = lambda num: None,
) -> Segmented:
    """Segment photos, or folders of them, into `out`. Parts may run at the same time; under several ranks each rank takes its share of the part.

    With `video` each folder's photos are frames in the order of their names.

    Raises:
        ConfigError: no such run; `out` holds something else, or is in the folder of photos.
        DataError: the run has no catalogue; no photos, or none that can be read.
        CheckpointError, MachineError: as `segment_photos`.
    """
    began_s = time.monotonic()
    config = load_run_config(run_dir, overrides=[f"run.device={device}", "run.num_threads=0"])
    if window_px < 0:
        raise ConfigError(f"--window must be a number of pixels, or 0 for none, got {window_px}")
    if window_px and video:
        raise ConfigError("--video and --window exclude each other: frames are seen whole; leave one out")
    named = named_photos(photos)
    for path in photos:
        check_apart(path if path.is_dir() else path.parent, out=out, confidence=None)
    world = build.build_world(config)
    try:
        with lost_ranks_explained(world=world):
            build.prepare_process(config, world=world)
            folder = SegmentFolder(out, with_overlays=overlays)
            run = ready_run(
                config,
                run_dir,
                checkpoint=checkpoint,
                device=world.device,
                before=lambda catalogue: _open(
                    folder, run_dir, catalogue=catalogue, photos=named, window_px=window_px, video=video, overwrite=overwrite and world.is_first
                ),
            )
            task = _task(run, named=named, out=folder, window_px=window_px, video=video)
            workers = num_workers if num_workers is not None else min(GPU_WORKERS, max(1, world.num_cores - 1)) if world.device.type == "cuda" else 1
            own, num_all = (part - 1) * world.num_ranks + world.rank + 1, num_parts * world.num_ranks
            done = all_together(
                lambda: segment_photos(task, part=own, num_parts=num_all, num_workers=workers, say_total=say_total, tick=tick),
                world=world,
            )
    finally:
        leave_world()
    if done.reasons and len(done.reasons) == len(named.names) + len(named.refused):
        first = min(done.reasons)
        raise DataError(f"none of the {len(done.reasons):,} photos can be segmented; the first, {first}, {done.reasons[first]}")
    listed = task.out.write_not_segmented(done.reasons, part=own, num_parts=num_all)
    return Segmented(done, num_classes=len(task.classes.names), not_segmented=listed, wall_s=time.monotonic() - began_s)


def _open(out: SegmentFolder, run_dir: RunDir, *, catalogue: Catalogue, photos: NamedPhotos, window_px: int, video: bool, overwrite: bool) -> None:
    """Begin or continue the folder, before time is spent on the encoder."""
    names = names_of(run_dir, catalogue=catalogue).read()
    settings = catalogue.facts.settings
    about = {
        "format": CLASSES_FORMAT,
        "run": str(run_dir.root.resolve()),
        "photos": str(photos.root),
        "catalogue": catalogue.key,
        "step": catalogue.facts.step,
        "masks": settings["predicted_by"],
        "objects": settings["objects"],
        "settings": settings,
        "window_px": window_px,
        "video": video,
        "names_revision": names.revision,
        "classes": _listed(names.apply(catalogue.clusters)),
    }
    out.open(about, same=("catalogue", "settings", "window_px", "video"), overwrite=overwrite)


def _task(run: LoadedRun, *, named: NamedPhotos, out: SegmentFolder, window_px: int, video: bool) -> Task:
    classes, settings = run.classes, run.catalogue.facts.settings
    splits = [[parent, into, centroids.tolist()] for parent, into, centroids in classes.splits]
    return Task(
        photos=named,
        out=out,
        segmenter=run.segmenter,
        classes=classes,
        about_classes=digest([run.catalogue.key, settings, window_px, video, _listed(classes), splits])[:16],
        sizes=Sizes(size_px=settings["size_px"], stride=run.segmenter.encoder.backbone.stride, window_px=window_px, with_shown=out.with_overlays),
        video=video,
    )


def _listed(classes: Classes) -> list[dict[str, Any]]:
    """The classes as classes.json has them."""
    colours = map_colours()
    return [
        {
            "id": number,
            "name": name,
            "named": number < classes.num_named,
            "colour": "#" + colours[number].tobytes().hex(),
            "clusters": sorted(cluster for cluster, class_id in classes.class_of.items() if class_id == number),
        }
        for number, name in enumerate(classes.names)
    ]
