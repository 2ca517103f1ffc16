"""Scores: how good proposals are. With ground truth: of masks, of boxes and of soft maps; without: how much they cover, how many, how large."""

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy
from jaxtyping import Bool, Int, Shaped, UInt8
from scipy import ndimage

from mcdist.components import connected_components
from mcdist.proposals.flatten import iou
from mcdist.proposals.quality.saliency import SaliencyScores
from mcdist.proposals.quality.truth import outline

BOUNDARY_TOLERANCE = 0.008
"""Share of the diagonal within which two boundaries agree (DAVIS)."""
VOID_STRIP_PX = 5.0
RECALL_IOU = 0.5
RECALL_AT = (1, 5, 10)
OBJECT_SHARE_MIN = 0.002
"""Parts of the ground truth smaller than this share of the photo are no object to be recalled."""


@dataclass
class TruthScores:
    """Grows by `add`, one photo at a time; void counts nowhere. All values of `values` are in 0..1."""

    intersection: int = 0
    union: int = 0
    photo_iou: list[float] = field(default_factory=list)
    boundary_f: list[float] = field(default_factory=list)
    saliency: SaliencyScores = field(default_factory=SaliencyScores)
    located: list[bool] = field(default_factory=list)
    recalled: dict[int, int] = field(default_factory=lambda: dict.fromkeys(RECALL_AT, 0))
    num_objects: int = 0
    purity: dict[int, list[float]] = field(default_factory=lambda: defaultdict(list))

    def add(self, instances: Shaped[numpy.ndarray, "H W"], *, truth: Int[numpy.ndarray, "H W"], confidence: UInt8[numpy.ndarray, "H W"] | None) -> None:
        """One photo: its instance map, its classes (0 background, -1 void), its confidence map where there is one."""
        counted = truth >= 0
        found, wanted = (instances > 0) & counted, truth > 0
        self.intersection += int((found & wanted).sum())
        self.union += int((found | wanted).sum())
        if wanted.any():
            self.photo_iou.append(iou(found, wanted))
            self.boundary_f.append(boundary_f(instances > 0, wanted=wanted, counted=counted))
        if confidence is not None:
            self.saliency.add(confidence, wanted=wanted, counted=counted)
        self._add_recall(instances, truth=truth)
        self._add_purity(instances, truth=truth)

    def _add_recall(self, instances: numpy.ndarray, *, truth: numpy.ndarray) -> None:
        """An object of the truth is a connected part of one class; proposals count in the order of their numbers.

        CorLoc: whether the box of the first proposal has an IoU of at least 0.5 with that of any object; photos without an object are left out.
        """
        proposed = [instances == number for number in range(1, min(int(instances.max(initial=0)), max(RECALL_AT)) + 1)]
        objects = list(_objects(truth))
        for wanted in objects:
            self.num_objects += 1
            best = next((place for place, one in enumerate(proposed, start=1) if iou(one & (truth >= 0), wanted) >= RECALL_IOU), None)
            for limit in RECALL_AT:
                self.recalled[limit] += best is not None and best <= limit
        if objects:
            box = _box(proposed[0]) if proposed and proposed[0].any() else None
            self.located.append(box is not None and any(_box_iou(box, _box(wanted)) >= RECALL_IOU for wanted in objects))

    def _add_purity(self, instances: numpy.ndarray, *, truth: numpy.ndarray) -> None:
        """Share of each segment that is of its most frequent class; background is a class of its own."""
        counted = truth >= 0
        for number in range(1, int(instances.max(initial=0)) + 1):
            kinds = truth[(instances == number) & counted]
            if kinds.size:
                numbers, counts = numpy.unique(kinds, return_counts=True)
                self.purity[int(numbers[counts.argmax()])].append(float(counts.max() / kinds.size))

    def values(self) -> dict[str, float]:
        """Every measure that could be taken, by name."""
        found = {
            "foreground_iou": self.intersection / max(self.union, 1),
            "mean_iou_per_photo": mean(self.photo_iou),
            "boundary_f": mean(self.boundary_f),
            **{f"recall_at_{limit}": count / max(self.num_objects, 1) for limit, count in self.recalled.items()},
            "cor_loc": mean(self.located),
            "purity": mean([share for shares in self.purity.values() for share in shares]),
        }
        return found | self.saliency.values()

    def purity_by_class(self) -> dict[int, float]:
        """Mean purity of the segments whose most frequent class this is; 0 is background."""
        return {kind: mean(shares) for kind, shares in sorted(self.purity.items())}


@dataclass
class ShapeScores:
    """What needs no ground truth: how much is covered, how many objects a photo has, how large they are."""

    coverage: list[float] = field(default_factory=list)
    num_objects: list[int] = field(default_factory=list)
    object_share: list[float] = field(default_factory=list)

    def add(self, instances: Shaped[numpy.ndarray, "H W"]) -> None:
        """One photo."""
        areas = numpy.bincount(instances[instances > 0].ravel())[1:]
        areas = areas[areas > 0]
        self.coverage.append(float(areas.sum() / instances.size))
        self.num_objects.append(len(areas))
        self.object_share.extend((areas / instances.size).tolist())

    def values(self) -> dict[str, float]:
        """Mean coverage and objects of a photo, the share of photos without any, and the 10th, 50th and 90th percentile of an object's share of its photo."""
        sizes = numpy.percentile(self.object_share, (10, 50, 90)) if self.object_share else (0.0, 0.0, 0.0)
        return {
            "coverage": mean(self.coverage),
            "objects_per_photo": mean(self.num_objects),
            "photos_without_object": mean([number == 0 for number in self.num_objects]),
            **{f"object_share_p{percent}": float(size) for percent, size in zip((10, 50, 90), sizes, strict=True)},
        }


def _objects(truth: Int[numpy.ndarray, "H W"]) -> Iterator[Bool[numpy.ndarray, "H W"]]:
    """Connected parts of one class each, but for tiny ones."""
    for kind in numpy.unique(truth[truth > 0]).tolist():
        parts, num_parts = connected_components(truth == kind)
        for part in range(1, num_parts + 1):
            if (wanted := parts == part).sum() >= OBJECT_SHARE_MIN * truth.size:
                yield wanted


def _box(mask: Bool[numpy.ndarray, "H W"]) -> tuple[int, int, int, int]:
    """Top, left, bottom, right in whole pixels, the last two beyond the mask."""
    rows, columns = numpy.flatnonzero(mask.any(axis=1)), numpy.flatnonzero(mask.any(axis=0))
    return int(rows[0]), int(columns[0]), int(rows[-1]) + 1, int(columns[-1]) + 1


def _box_iou(one: tuple[int, int, int, int], other: tuple[int, int, int, int]) -> float:
    top, left, bottom, right = max(one[0], other[0]), max(one[1], other[1]), min(one[2], other[2]), min(one[3], other[3])
    shared = max(0, bottom - top) * max(0, right - left)
    areas = sum((box[2] - box[0]) * (box[3] - box[1]) for box in (one, other))
    return shared / (areas - shared)


def boundary_f(found: Bool[numpy.ndarray, "H W"], *, wanted: Bool[numpy.ndarray, "H W"], counted: Bool[numpy.ndarray, "H W"]) -> float:
    """F-measure of the outlines, each pixel right where the other outline is within BOUNDARY_TOLERANCE of the diagonal (Perazzi et al., CVPR 2016).

    A thin strip of void around an object, as VOC draws it, is shared out to the nearest side; outlines deeper inside void are not counted.
    """
    tolerance = max(1.0, BOUNDARY_TOLERANCE * float(numpy.hypot(*found.shape)))
    if not counted.all():
        if not counted.any():
            return 1.0
        depth, nearest = ndimage.distance_transform_edt(~counted, return_indices=True)
        wanted = wanted[tuple(nearest)]
        near = depth <= VOID_STRIP_PX
    else:
        near = counted
    one, other = outline(found) & near, outline(wanted) & near
    if not one.any() or not other.any():
        return float(one.any() == other.any())
    precision = float((ndimage.distance_transform_edt(~other)[one] <= tolerance).mean())
    recall = float((ndimage.distance_transform_edt(~one)[other] <= tolerance).mean())
    return 2 * precision * recall / max(precision + recall, 1e-12)


def mean(values: list[float] | list[int] | list[bool]) -> float:
    """0 for none."""
    return float(numpy.mean(values)) if values else 0.0
