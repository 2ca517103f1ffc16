"""A folder of photos becomes a folder of segments, a batch at a time. Workers decode, this process embeds, threads draw and write.

A batch is made of the same photos whatever was done before and whoever takes part, so that a photo's segments are the same bytes in any case.
"""

from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, field
from typing import Any

import torch
from jaxtyping import UInt8
from torch import Tensor

from mcdist.catalogue.classes import Classes
from mcdist.data.pictures.png import encode_palette_png
from mcdist.proposals.folder.worker import ends_crc32
from mcdist.segments.drawing import map_colours, overlay_jpeg
from mcdist.segments.named_photos import NamedPhotos
from mcdist.segments.out import SegmentFolder
from mcdist.segments.photo_files import NoPhoto, PhotoImage, Sizes, photo_batches
from mcdist.segments.segmenter import FoundObjects, Segmenter, at_own_size

NUM_WRITERS = 2
WAITING_BATCHES = 2
"""Batches whose files may still be unwritten: more would not be faster, and their photos are in memory."""


@dataclass(slots=True)
class Done:
    """What a part did. `reasons`: photo -> why it could not be segmented."""

    num_photos: int = 0
    num_kept: int = 0
    num_made: int = 0
    num_segments: int = 0
    reasons: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Task:
    """What is done to each photo. `about_classes`: a digest that says which classes the segments have."""

    photos: NamedPhotos
    out: SegmentFolder
    segmenter: Segmenter
    classes: Classes
    about_classes: str
    sizes: Sizes

    def facts(self, name: str) -> dict[str, Any]:
        """What is kept with a photo's segments, to know whether they are still right."""
        return {"classes": self.about_classes, "photo_crc32": ends_crc32(self.photos.root / name)}


def segment_photos(
    task: Task,
    *,
    part: int = 1,
    num_parts: int = 1,
    num_workers: int = 0,
    say_total: Callable[[int], None] = lambda num: None,
    tick: Callable[[int], None] = lambda num: None,
) -> Done:
    """Segment part `part` of `num_parts` of the photos: every so-manieth batch. Photos that are done already, with the same classes, are kept.

    `say_total` hears the photos left to do in this part, `tick` those done since.

    Raises:
        CheckpointError: the embeddings are not finite.
        MachineError: the disk refuses, or a worker died; finished photos stay for the next run.
    """
    names, size = task.photos.names, task.segmenter.settings.batch
    mine = [list(range(start, min(start + size, len(names)))) for start in range(0, len(names), size)][part - 1 :: num_parts]
    undone = {index for batch in mine for index in batch if not task.out.is_done(names[index], facts=task.facts(names[index]))}
    left = [batch for batch in mine if any(index in undone for index in batch)]
    done = Done(num_photos=sum(map(len, mine)), num_kept=sum(map(len, mine)) - len(undone), reasons=dict(task.photos.refused) if part == 1 else {})
    say_total(len(undone))
    paths = [task.photos.path(name) for name in names]
    images = photo_batches(paths, batches=left, sizes=task.sizes, num_workers=num_workers)
    with closing(images), ThreadPoolExecutor(max_workers=NUM_WRITERS) as writers:
        waiting: deque[list[Future[int]]] = deque()
        for batch, read in zip(left, images, strict=True):
            wanted = [index in undone for index in batch]
            found = find_in_batch(task.segmenter, photos=read, wanted=wanted)
            futures = []
            for index, photo, objects in zip(batch, read, found, strict=True):
                if index not in undone:
                    continue
                if isinstance(photo, NoPhoto) or objects is None:
                    done.reasons[names[index]] = photo.reason if isinstance(photo, NoPhoto) else ""
                else:
                    futures.append(writers.submit(_write, task, names[index], photo, objects))
            waiting.append(futures)
            if len(waiting) > WAITING_BATCHES:
                _collect(waiting.popleft(), done=done)
            tick(sum(wanted))
        while waiting:
            _collect(waiting.popleft(), done=done)
    return done


def find_in_batch(segmenter: Segmenter, *, photos: list[PhotoImage | NoPhoto], wanted: list[bool]) -> list[FoundObjects | None]:
    """The objects of each photo; None for what is no photo. A photo that cannot be read, or is seen through windows, is black in the batch of the others."""
    small = [None if isinstance(photo, NoPhoto) or photo.is_canvas else photo.image for photo in photos]
    found: list[FoundObjects | None] = [None] * len(photos)
    if any(image is not None for image in small):
        side = segmenter.settings.size_px
        images = torch.stack([_black(side) if image is None else image for image in small])
        for place, objects in enumerate(segmenter.find(segmenter.look(images), height=side, width=side)):
            found[place] = objects if small[place] is not None else None
    for place, photo in enumerate(photos):
        if isinstance(photo, PhotoImage) and photo.is_canvas and wanted[place]:
            found[place] = find_in_canvas(segmenter, canvas=photo.image)
    return found


def find_in_canvas(segmenter: Segmenter, *, canvas: UInt8[Tensor, "3 h w"]) -> FoundObjects:
    """The objects of one large photo."""
    return segmenter.find(segmenter.look_through_windows(canvas), height=canvas.shape[1], width=canvas.shape[2])[0]


def _black(side: int) -> UInt8[Tensor, "3 S S"]:
    return torch.zeros((3, side, side), dtype=torch.uint8)


def _write(task: Task, name: str, photo: PhotoImage, objects: FoundObjects) -> int:
    """In a writer's thread; the number of segments."""
    segmented = at_own_size(objects, classes=task.classes, height=photo.height, width=photo.width)
    task.out.write(
        name,
        class_map=encode_palette_png(segmented.class_map, colours=map_colours()),
        overlay=None if photo.shown is None else overlay_jpeg(photo.shown, segmented=segmented),
        segments=segmented.to_json(name, **task.facts(name)),
    )
    return len(segmented.segments)


def _collect(futures: list[Future[int]], *, done: Done) -> None:
    for future in futures:
        done.num_segments += future.result()
        done.num_made += 1
