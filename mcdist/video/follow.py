"""Follow: one video, its first frame's objects carried through all frames by the features of every encoder, written and scored frame by frame."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy
import torch
from jaxtyping import Float, Int32, UInt8
from torch import Tensor
from torch.nn.functional import interpolate

from mcdist.data.pictures.bit_colours import bit_colours
from mcdist.data.pictures.png import encode_palette_png
from mcdist.data.videos import Video, read_annotation, read_frame
from mcdist.errors import DataError
from mcdist.evaluate.metrics.davis import DavisYear, SequenceScorer, num_objects_of
from mcdist.evaluate.propagation.propagate import Propagation, hard_labels, soft_labels
from mcdist.evaluate.propagation.settings import PropagationSettings, frame_size
from mcdist.records.names import FIRST_FRAME
from mcdist.run_dir import write_atomically
from mcdist.video.folder import VideoFolder, VideoScores, make_folder

Features = Callable[[Float[Tensor, "3 H W"]], dict[str, Float[Tensor, "_ _ _"]]]


@dataclass(frozen=True, slots=True)
class FrameEncoder:
    """What sees the frames: a frame of 0..255 on `device` -> by the names of `names` the features [D, H / stride, W / stride]."""

    names: tuple[str, ...]
    features: Features
    stride: int
    device: torch.device


def follow(
    video: Video,
    *,
    encoder: FrameEncoder,
    settings: PropagationSettings,
    year: DavisYear,
    folder: VideoFolder,
    tick: Callable[[], None] = lambda: None,
) -> VideoScores:
    """Write the masks of all frames under all encoders, then the scores. `tick` after each frame. Memory does not depend on the video's length.

    Raises:
        DataError: a frame or an annotation cannot be read or has another size than the first one.
        MachineError: the disk refuses.
    """
    began_s = time.monotonic()
    first = read_annotation(_known(video, place=0))
    num_objects = num_objects_of(first, year=year)
    numbers = (first != 0).astype(numpy.int32) if year == 2016 else first
    propagations = {name: Propagation(settings=settings) for name in encoder.names}
    scorers = {name: SequenceScorer(first, num_frames=len(video.frames), year=year) for name in (*encoder.names, FIRST_FRAME)}
    for name in encoder.names:
        make_folder(folder.masks(name, video.name))
    upsampled = frame_size(*first.shape, settings=settings, stride=encoder.stride)
    for place, frame in enumerate(video.frames):
        pixels = read_frame(frame)
        if pixels.shape[:2] != first.shape:
            raise DataError(f"the frame {frame} must have the size of the video's first annotation, {first.shape}, got {pixels.shape[:2]}")
        features = encoder.features(_scaled(pixels, size=upsampled, device=encoder.device))
        found = {name: _found(propagations[name], features[name], first=numbers, num_objects=num_objects, upsampled=upsampled) for name in encoder.names}
        for name, mask in found.items():
            write_atomically(folder.masks(name, video.name) / f"{frame.stem}.png", encode_palette_png(mask.astype(numpy.uint8), colours=bit_colours()))
        if video.is_annotated:
            truth = read_annotation(_known(video, place=place))
            for name, scorer in scorers.items():
                scorer.add(found.get(name, numbers), truth=truth)
        tick()
    scored = VideoScores(
        video=video.name,
        num_frames=len(video.frames),
        num_objects=num_objects,
        scores={name: scorer.scores() for name, scorer in scorers.items()},
        wall_s=round(time.monotonic() - began_s, 3),
        unscored=_why_unscored(video, num_objects=num_objects),
    )
    folder.write(scored)
    return scored


def _found(
    propagation: Propagation, features: Float[Tensor, "D h w"], *, first: Int32[numpy.ndarray, "H W"], num_objects: int, upsampled: tuple[int, int]
) -> Int32[numpy.ndarray, "H W"]:
    """The numbers of the next frame's objects. Those of the first frame are as they were given, its void too."""
    if not propagation.has_begun:
        given = torch.from_numpy(first).to(features.device)
        propagation.begin(features, labels=soft_labels(given, num_objects=num_objects, height=features.shape[1], width=features.shape[2]))
        return first
    labels = propagation.labels_of(features)
    propagation.add(features, labels=labels)
    numbers = hard_labels(labels, upsampled=upsampled, size=(first.shape[0], first.shape[1]))
    return numbers.cpu().numpy().astype(numpy.int32)


def _scaled(pixels: UInt8[numpy.ndarray, "H1 W1 3"], *, size: tuple[int, int], device: torch.device) -> Float[Tensor, "3 H W"]:
    frame = torch.from_numpy(pixels).to(device).permute(2, 0, 1).float()
    return interpolate(frame[None], size=size, mode="bilinear", align_corners=False)[0]


def _known(video: Video, *, place: int) -> Path:
    path = video.annotations[place]
    assert path is not None
    return path


def _why_unscored(video: Video, *, num_objects: int) -> str:
    if not video.is_annotated:
        return f"{sum(path is None for path in video.annotations)} of {len(video.frames)} frames have no annotation"
    if len(video.frames) < 3:
        return f"it has {len(video.frames)} frames, and the first and the last are not scored"
    return "" if num_objects else "its first frame shows no object"
