"""Scores: how good proposals are. With ground truth: seven measures; without: how much they cover, how many, how large."""

from collections import defaultdict
from dataclasses import dataclass, field

import numpy
from jaxtyping import Bool, Int, Shaped, UInt8
from scipy import ndimage

from mcdist.components import connected_components
from mcdist.proposals.flatten import iou
from mcdist.proposals.quality.truth import outline

BETA_SQUARED = 0.3
"""Weight of precision against recall in the F-measure of saliency (Achanta et al., CVPR 2009)."""
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
    mean_error: list[float] = field(default_factory=list)
    hits: Int[numpy.ndarray, " 256"] = field(default_factory=lambda: numpy.zeros(256, dtype=numpy.int64))
    positives: Int[numpy.ndarray, " 256"] = field(default_factory=lambda: numpy.zeros(256, dtype=numpy.int64))
    num_foreground: int = 0
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
            self._add_confidence(confidence[counted], wanted=wanted[counted])
        self._add_recall(instances, truth=truth)
        self._add_purity(instances, truth=truth)

    def _add_confidence(self, confidence: numpy.ndarray, *, wanted: numpy.ndarray) -> None:
        self.mean_error.append(float(numpy.abs(confidence / 255 - wanted).mean()) if confidence.size else 0.0)
        self.hits += numpy.bincount(confidence[wanted], minlength=256)
        self.positives += numpy.bincount(confidence, minlength=256)
        self.num_foreground += int(wanted.sum())

    def _add_recall(self, instances: numpy.ndarray, *, truth: numpy.ndarray) -> None:
        """An object of the truth is a connected part of one class; proposals count in the order of their numbers."""
        proposed = [instances == number for number in range(1, min(int(instances.max(initial=0)), max(RECALL_AT)) + 1)]
        for kind in numpy.unique(truth[truth > 0]).tolist():
            parts, num_parts = connected_components(truth == kind)
            for part in range(1, num_parts + 1):
                wanted = parts == part
                if wanted.sum() < OBJECT_SHARE_MIN * truth.size:
                    continue
                self.num_objects += 1
                best = next((place for place, one in enumerate(proposed, start=1) if iou(one & (truth >= 0), wanted) >= RECALL_IOU), None)
                for limit in RECALL_AT:
                    self.recalled[limit] += best is not None and best <= limit

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
            "purity": mean([share for shares in self.purity.values() for share in shares]),
        }
        if self.mean_error:
            found |= {"max_f": self.max_f(), "mean_absolute_error": mean(self.mean_error)}
        return found

    def max_f(self) -> float:
        """The best F-measure over all cuts of the confidence maps, over the whole set."""
        true, positive = self.hits[::-1].cumsum(), self.positives[::-1].cumsum()
        precision, recall = true / numpy.maximum(positive, 1), true / max(self.num_foreground, 1)
        return float(((1 + BETA_SQUARED) * precision * recall / numpy.maximum(BETA_SQUARED * precision + recall, 1e-12)).max())

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
