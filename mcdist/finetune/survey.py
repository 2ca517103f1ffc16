"""Survey: which raw ids the ground truth of labelled photos shows, before anything is trained on it."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy
import torch
from jaxtyping import Int, Int64, UInt8
from torch.utils.data import Dataset

from mcdist.data.loader import load_requests
from mcdist.data.photo_views import read_sound
from mcdist.data.readers.reader import SampleReader
from mcdist.data.shards.sample import RawSample, decode_grey
from mcdist.distributed import World
from mcdist.errors import DataError, McdistError, ShardError
from mcdist.evaluate.metrics.labels import VOID_CLASS
from mcdist.ranks.agree import all_together, run_on_first

NUM_IDS = 256
PHOTOS_AT_ONCE = 16


@dataclass(frozen=True, slots=True)
class Survey:
    """`pixels`: of each id in each photo. `class_of_id`: the class of each id, 255 where it has none."""

    pixels: Int[numpy.ndarray, "P 256"]
    class_of_id: UInt8[numpy.ndarray, " 256"]

    @property
    def labelled(self) -> list[int]:
        """Photos with a pixel of a class."""
        return numpy.flatnonzero(self.pixels[:, self.class_of_id != VOID_CLASS].sum(axis=1)).tolist()

    @property
    def unknown_ids(self) -> dict[int, int]:
        """Pixels of each id that is neither a class nor 255: void by the rule, and worth a word."""
        total = self.pixels.sum(axis=0)
        return {int(raw_id): int(total[raw_id]) for raw_id in numpy.flatnonzero((self.class_of_id == VOID_CLASS) & (total > 0)) if raw_id != VOID_CLASS}

    def absent(self, photos: list[int], *, num_classes: int) -> list[int]:
        """Classes that none of these photos shows."""
        total = self.pixels[photos].sum(axis=0)
        return [number for number in range(num_classes) if not total[self.class_of_id == number].any()]


@dataclass(frozen=True, slots=True)
class SurveyedShards:
    """The first photos of a shard folder, as many as were surveyed. `digest`: of the folder's samples."""

    reader: SampleReader
    location: str
    survey: Survey
    digest: str

    @property
    def labelled(self) -> list[int]:
        """Samples with a pixel of a class."""
        return self.survey.labelled

    @property
    def num_photos(self) -> int:
        """Those that were surveyed."""
        return len(self.survey.pixels)


def survey_labels(
    reader: SampleReader, *, num_photos: int, class_of_id: UInt8[numpy.ndarray, " 256"], num_workers: int, world: World, on_progress: Callable[[int], None]
) -> Survey:
    """The ids of the first `num_photos` photos, of which each rank reads its share. All ranks call it; no photo is decoded.

    Raises:
        DataError: no photo has a pixel of a class.
        ShardError: a damaged ground truth, or a sample without one.
    """
    own = range(world.rank, num_photos, world.num_ranks)
    counts = all_together(lambda: _counts_of(reader, own, num_workers=num_workers, on_progress=on_progress), world=world)
    pixels = numpy.zeros((num_photos, NUM_IDS), dtype=numpy.int64)
    pixels[own] = counts
    survey = Survey(world.sum(torch.from_numpy(pixels).to(world.device)).cpu().numpy(), class_of_id)
    run_on_first(lambda: check_labels(survey, where=reader.files.name), world=world)
    return survey


def check_labels(survey: Survey, *, where: str) -> None:
    """Raise DataError where no photo has a pixel of a class."""
    if not survey.labelled:
        ids = numpy.flatnonzero(survey.pixels.sum(axis=0)).tolist()
        raise DataError(
            f"fine-tuning needs labelled photos, none of the {len(survey.pixels)} photos of {where} has a pixel of a class: its ids are "
            f"{', '.join(map(str, ids)) or 'none'}; check evaluate.classes, or evaluate.train_classes, against the labels"
        )


def _counts_of(reader: SampleReader, photos: range, *, num_workers: int, on_progress: Callable[[int], None]) -> Int64[numpy.ndarray, "B 256"]:
    batches = [list(photos[first : first + PHOTOS_AT_ONCE]) for first in range(0, len(photos), PHOTOS_AT_ONCE)]
    num_workers = min(num_workers, len(batches)) if len(batches) > 1 else 0
    counted: Any = load_requests(IdCounts(reader), batches=batches, num_workers=num_workers, prefetch=2)
    found = [numpy.zeros((0, NUM_IDS), dtype=numpy.int64)]
    for counts in counted:
        found.append(counts)
        on_progress(len(counts))
    return numpy.concatenate(found)


class IdCounts(Dataset[Int64[numpy.ndarray, "B 256"]]):
    """Pixels of each id in each of some photos. It is sent to worker processes."""

    def __init__(self, reader: SampleReader) -> None:
        self.reader = reader

    def __getitems__(self, photos: list[int]) -> Int64[numpy.ndarray, "B 256"] | McdistError:
        """The error as a value: raised in a worker, torch would bury its one sentence in a stack trace."""
        try:
            read = partial(read_sound, self.reader, make=_counts, with_segments=True)
            return numpy.stack([read(photo) for photo in photos])
        except McdistError as error:
            return error


def _counts(raw: RawSample) -> Int64[numpy.ndarray, " 256"]:
    if raw.segments is None:
        raise ShardError(f"{raw.where}: fine-tuning needs ground truth, the sample has none; build the shards with labels")
    return numpy.bincount(decode_grey(raw.segments, where=raw.where).numpy().ravel(), minlength=NUM_IDS)
