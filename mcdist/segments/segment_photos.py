"""A folder of photos becomes a folder of segments, a batch at a time. Workers decode, this process embeds, threads draw and write.

A batch is made of the same photos whatever was done before and whoever takes part, so that a photo's segments are the same bytes in any case.
"""

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, field
from itertools import groupby
from pathlib import Path
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
from mcdist.segments.photo_files import NoPhoto, PhotoImage, Sizes, photo_batches, read_pixels
from mcdist.segments.segmenter import FoundObjects, Looked, Segmenter, at_own_size
from mcdist.segments.steady import SeenFrame, steady_frames

NUM_WRITERS = 2
_Found = tuple[int, PhotoImage | NoPhoto, FoundObjects | None]
"""A photo by index, what was read of it, and its objects; None for what is no photo."""

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
    """What is done to each photo. `about_classes`: a digest that says which classes the segments have. `video`: each folder's photos are frames in order."""

    photos: NamedPhotos
    out: SegmentFolder
    segmenter: Segmenter
    classes: Classes
    about_classes: str
    sizes: Sizes
    video: bool = False

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
    """Segment part `part` of `num_parts` of the photos: every so-manieth batch, or video. Photos that are done already, with the same classes, are kept.

    `say_total` hears the photos left to do in this part, `tick` those done since. Of a video of which a frame is left, all are done again.

    Raises:
        CheckpointError: the embeddings are not finite.
        MachineError: the disk refuses, or a worker died; finished photos stay for the next run.
    """
    names, size = task.photos.names, task.segmenter.settings.batch
    videos = videos_of(names) if task.video else [list(range(len(names)))]
    mine = (videos if task.video else _batches(videos[0], size=size))[part - 1 :: num_parts]
    undone = {index for group in mine for index in group if not task.out.is_done(names[index], facts=task.facts(names[index]))}
    done = Done(num_photos=sum(map(len, mine)), reasons=dict(task.photos.refused) if part == 1 else {})
    if task.video:
        left = [frames for frames in mine if _has_news(task, [index for index in frames if index in undone], reasons=done.reasons)]
        undone = {index for group in left for index in group}
    else:
        left = [group for group in mine if any(index in undone for index in group)]
    done.num_kept = done.num_photos - len(undone) - sum(names[index] in done.reasons for group in mine for index in group)
    say_total(len(undone))
    batches = [batch for group in left for batch in (_batches(group, size=size) if task.video else [group])]
    paths = [task.photos.path(name) for name in names]
    images = photo_batches(paths, batches=batches, sizes=task.sizes, num_workers=num_workers)
    with closing(images), ThreadPoolExecutor(max_workers=NUM_WRITERS) as writers:
        waiting: deque[Future[int]] = deque()
        for index, photo, objects in (_steadied if task.video else _found)(task, batches=batches, images=images, undone=undone):
            if isinstance(photo, NoPhoto) or objects is None:
                done.reasons[names[index]] = photo.reason if isinstance(photo, NoPhoto) else ""
            else:
                waiting.append(writers.submit(_write, task, names[index], photo, objects))
            while len(waiting) > WAITING_BATCHES * size:
                _collect(waiting.popleft(), done=done)
            tick(1)
        while waiting:
            _collect(waiting.popleft(), done=done)
    return done


def videos_of(names: Sequence[str]) -> list[list[int]]:
    """The photos of each folder, in the order of their names: the frames of a video each."""
    ordered = sorted(range(len(names)), key=lambda index: (names[index].rpartition("/")[0], names[index]))
    return [list(frames) for _, frames in groupby(ordered, key=lambda index: names[index].rpartition("/")[0])]


def _has_news(task: Task, undone: list[int], *, reasons: dict[str, str]) -> bool:
    """Whether a frame that is not done can be read. Why those before it cannot joins `reasons`: such a frame does not make its video be done again."""
    for index in undone:
        read = read_pixels(Path(task.photos.path(task.photos.names[index])))
        if not isinstance(read, NoPhoto):
            return True
        reasons[task.photos.names[index]] = read.reason
    return False


def _batches(indices: list[int], *, size: int) -> list[list[int]]:
    return [indices[start : start + size] for start in range(0, len(indices), size)]


def _found(task: Task, *, batches: list[list[int]], images: Iterable[list[PhotoImage | NoPhoto]], undone: set[int]) -> Iterator[_Found]:
    """Each photo that is to be done, with its objects."""
    for batch, read in zip(batches, images, strict=True):
        found = find_in_batch(task.segmenter, photos=read, wanted=[index in undone for index in batch])
        yield from (one for one in zip(batch, read, found, strict=True) if one[0] in undone)


def _steadied(task: Task, *, batches: list[list[int]], images: Iterable[list[PhotoImage | NoPhoto]], undone: set[int]) -> Iterator[_Found]:
    """The same of videos: the objects of a frame are steadied by the frames before it. A frame that cannot be read is left out of its video."""
    names, side = task.photos.names, task.segmenter.settings.size_px
    refused: deque[_Found] = deque()

    def seen() -> Iterator[tuple[str, SeenFrame[tuple[int, PhotoImage]]]]:
        for batch, read in zip(batches, images, strict=True):
            looked = task.segmenter.look(torch.stack([_black(side) if isinstance(photo, NoPhoto) else photo.image for photo in read]))
            found = task.segmenter.find(looked, height=side, width=side)
            for place, (index, photo) in enumerate(zip(batch, read, strict=True)):
                if isinstance(photo, NoPhoto):
                    refused.append((index, photo, None))
                    continue
                alone = Looked(looked.features[place : place + 1], looked.logits[place : place + 1])
                yield names[index].rpartition("/")[0], SeenFrame((index, photo), alone, found[place])

    for _, video in groupby(seen(), key=lambda one: one[0]):
        for (index, photo), objects in steady_frames((frame for _, frame in video), segmenter=task.segmenter, classes=task.classes):
            yield index, photo, objects
        while refused:
            yield refused.popleft()
    yield from refused


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


def _collect(future: Future[int], *, done: Done) -> None:
    done.num_segments += future.result()
    done.num_made += 1
