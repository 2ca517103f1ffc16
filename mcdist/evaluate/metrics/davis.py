"""DAVIS: how well segments follow objects through a video. J is the region's IoU, F the agreement of boundaries; of both the mean, recall and decay.

Perazzi et al., "A Benchmark Dataset and Evaluation Methodology for Video Object Segmentation", CVPR 2016, and Pont-Tuset et al., arXiv:1704.00675, with
the rules of the official tools: the first and the last frame are not scored, for the first one is given.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy
from jaxtyping import Bool, Float, Int, Shaped
from scipy.spatial import cKDTree

from mcdist.errors import DataError

DavisYear = Literal[2016, 2017]
"""2016: one object, wherever the annotation is not 0. 2017: the annotation numbers the objects, 255 is void."""

BOUNDARY_SHARE = 0.008
"""Of the diagonal: pixels of two boundaries match within the ceiling of this."""
RECALL_ABOVE = 0.5
VOID_ID = 255


@dataclass(frozen=True, slots=True)
class Statistics:
    """Over the scored frames of one object, or means of these: the mean, the share of frames above 0.5, and the first quarter's mean minus the last one's."""

    mean: float
    recall: float
    decay: float


@dataclass(frozen=True, slots=True)
class ObjectScore:
    """J and F of one object in each scored frame, 0..1."""

    number: int
    region: tuple[float, ...]
    boundary: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class DavisScore:
    """Means over the objects of all sequences (2016: a sequence has one object). `num_objects` were scored."""

    region: Statistics
    boundary: Statistics
    num_objects: int

    @property
    def region_and_boundary(self) -> float:
        """J&F: half of the mean J and half of the mean F."""
        return (self.region.mean + self.boundary.mean) / 2


class SequenceScorer:
    """Scores one video frame by frame, so that memory does not grow with its length.

    Objects are those that the first frame numbers, 1 to its largest id. An object that appears later with a larger id is not scored; a number below the
    largest that the first frame does not show is scored like any other. A video of fewer than three frames has no frame to score.
    """

    def __init__(self, first_truth: Shaped[numpy.ndarray, "H W"], *, num_frames: int, year: DavisYear = 2017) -> None:
        self.num_frames, self.year = num_frames, year
        self.num_objects = num_objects_of(first_truth, year=year)
        self._seen = 0
        self._scores: list[Float[numpy.ndarray, "2 O"]] = []

    def add(self, found: Shaped[numpy.ndarray, "H1 W1"], *, truth: Shaped[numpy.ndarray, "H W"]) -> None:
        """The next frame, from the first one on: the objects' numbers as they were found and as they are.

        Raises:
            DataError: of different size, or `found` has a number that no object of the first frame has.
        """
        place, self._seen = self._seen, self._seen + 1
        if 0 < place < self.num_frames - 1:
            self._scores.append(numpy.stack(frame_scores(found, truth=truth, num_objects=self.num_objects, year=self.year)))

    def scores(self) -> tuple[ObjectScore, ...]:
        """One for each object; none where no frame was scored."""
        if not self._scores:
            return ()
        region, boundary = numpy.stack(self._scores, axis=-1)
        return tuple(ObjectScore(place + 1, tuple(region[place].tolist()), tuple(boundary[place].tolist())) for place in range(self.num_objects))


def num_objects_of(first_truth: Shaped[numpy.ndarray, "H W"], *, year: DavisYear) -> int:
    """How many objects a video has, by the annotation of its first frame."""
    numbers, _ = _split(first_truth, year=year)
    return int(numbers.max(initial=0))


def frame_scores(
    found: Shaped[numpy.ndarray, "H1 W1"], *, truth: Shaped[numpy.ndarray, "H W"], num_objects: int, year: DavisYear = 2017
) -> tuple[Float[numpy.ndarray, " O"], Float[numpy.ndarray, " O"]]:
    """J and F of objects 1..num_objects in one frame.

    Raises:
        DataError: of different size, or `found` has a larger number than `num_objects`.
    """
    if found.shape != truth.shape:
        raise DataError(f"a frame's segments must have the annotation's size, {truth.shape[1]} x {truth.shape[0]}, got {found.shape[1]} x {found.shape[0]}")
    wanted, void = _split(truth, year=year)
    segments = (found != 0).astype(numpy.int64) if year == 2016 else numpy.where(found == VOID_ID, 0, found)
    if segments.max(initial=0) > num_objects:
        raise DataError(f"a frame's segments hold the number {segments.max()}, the video's first frame has {num_objects} objects; number them as it does")
    objects = range(1, num_objects + 1)
    region = [region_similarity(segments == number, truth=wanted == number, void=void) for number in objects]
    boundary = [boundary_measure(segments == number, truth=wanted == number, void=void) for number in objects]
    return numpy.array(region, dtype=numpy.float64), numpy.array(boundary, dtype=numpy.float64)


def region_similarity(found: Bool[numpy.ndarray, "H W"], *, truth: Bool[numpy.ndarray, "H W"], void: Bool[numpy.ndarray, "H W"] | None = None) -> float:
    """J: IoU of the pixels that are not void; 1 where both are empty."""
    counted = numpy.ones_like(truth) if void is None else ~void
    union = int(((found | truth) & counted).sum())
    return int((found & truth & counted).sum()) / union if union else 1.0


def boundary_measure(
    found: Bool[numpy.ndarray, "H W"],
    *,
    truth: Bool[numpy.ndarray, "H W"],
    void: Bool[numpy.ndarray, "H W"] | None = None,
    radius_px: int | None = None,
) -> float:
    """F: harmonic mean of the shares of either boundary's pixels that have one of the other boundary in a disk around them; void belongs to no object.

    Without any boundary on both sides 1, on one side 0. `radius_px` of the disk: None for ceil(0.008 x diagonal), as the official tools.

    The disk is one of whole pixels, dx^2 + dy^2 <= radius^2, so nearest neighbours of boundary pixels replace dilated maps. Cost: O(b log b) for b of them.
    """
    radius = boundary_radius_px(*truth.shape) if radius_px is None else radius_px
    counted = numpy.ones_like(truth) if void is None else ~void
    here, there = (numpy.argwhere(boundary_of(mask & counted)) for mask in (found, truth))
    if not len(here) or not len(there):
        return float(len(here) == len(there))
    precision, recall = _share_near(here, others=there, radius=radius), _share_near(there, others=here, radius=radius)
    return 2 * precision * recall / (precision + recall) if precision + recall else 0.0


def boundary_radius_px(height: int, width: int) -> int:
    """Within how many pixels boundaries of a frame match."""
    return math.ceil(BOUNDARY_SHARE * math.hypot(height, width))


def boundary_of(mask: Bool[numpy.ndarray, "H W"]) -> Bool[numpy.ndarray, "H W"]:
    """Pixels that differ from the one to the right, below, or diagonally below; at the right and lower edge from the one that is there; never the corner."""
    edge = numpy.zeros_like(mask)
    edge[:-1, :-1] = (mask[:-1, :-1] ^ mask[:-1, 1:]) | (mask[:-1, :-1] ^ mask[1:, :-1]) | (mask[:-1, :-1] ^ mask[1:, 1:])
    edge[-1, :-1] = mask[-1, :-1] ^ mask[-1, 1:]
    edge[:-1, -1] = mask[:-1, -1] ^ mask[1:, -1]
    return edge


def statistics_of(values: Sequence[float]) -> Statistics:
    """Of one object's frames. The quarters of `decay` share their border frames, as in the official tools.

    Raises:
        ValueError: no values.
    """
    if not values:
        raise ValueError("statistics need at least one scored frame, got none")
    scores = numpy.asarray(values, dtype=numpy.float64)
    ends = numpy.round(numpy.linspace(1, len(scores), 5) + 1e-10).astype(numpy.int64) - 1
    first, last = scores[ends[0] : ends[1] + 1], scores[ends[3] : ends[4] + 1]
    return Statistics(float(scores.mean()), float((scores > RECALL_ABOVE).mean()), float(first.mean() - last.mean()))


def davis_score(objects: Sequence[ObjectScore]) -> DavisScore:
    """The score of a data set from the objects of all its sequences.

    Raises:
        DataError: no object was scored.
    """
    if not objects:
        raise DataError("the DAVIS score needs a video with an object in its first frame and at least three frames, got none")
    region, boundary = ([statistics_of(getattr(one, side)) for one in objects] for side in ("region", "boundary"))
    return DavisScore(_mean(region), _mean(boundary), num_objects=len(objects))


def _mean(found: list[Statistics]) -> Statistics:
    means = (float(numpy.mean([getattr(one, name) for one in found])) for name in ("mean", "recall", "decay"))
    return Statistics(*means)


def _split(truth: Shaped[numpy.ndarray, "H W"], *, year: DavisYear) -> tuple[Int[numpy.ndarray, "H W"], Bool[numpy.ndarray, "H W"] | None]:
    """Objects by number, and void; None for no void at all."""
    if year == 2016:
        return (truth != 0).astype(numpy.int64), None
    void = truth == VOID_ID
    return numpy.where(void, 0, truth).astype(numpy.int64), void if void.any() else None


def _share_near(points: Int[numpy.ndarray, "N 2"], *, others: Int[numpy.ndarray, "M 2"], radius: int) -> float:
    distance, _ = cKDTree(others).query(points, distance_upper_bound=radius + 0.5 / max(radius, 1))
    return float((numpy.round(distance**2) <= radius**2).mean())  # squares are whole numbers; none within reach is infinite
