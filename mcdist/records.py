"""What a run measured: Records while it trains, an Evaluation of Scores and Panels after it. No logger is known here; reports are views of these."""

import json
from dataclasses import asdict, dataclass
from typing import Any

import numpy

from mcdist.errors import DataError


@dataclass(frozen=True, slots=True)
class Record:
    """`name` was `value` in `unit` after `step` optimizer steps. Units: "" (plain number), "s", "1/s", "%", "px", "GiB"."""

    step: int
    name: str
    value: float
    unit: str = ""


@dataclass(frozen=True, slots=True)
class Score:
    """One row of the evaluation's table: one encoder's embeddings, clustered under one protocol on one set of object masks.

    `masks`: "predicted" (the trained run's own) or "proposals" (the given ones). `encoder`: "trained", "trained backbone", "initial",
    "initial backbone" or "random labels". `miou_percent`: one value a clustering seed. `class_iou_percent`: mean over seeds, in class order.
    `confusion`: pixels of the first seed, row = predicted class after matching, column = true class.
    """

    masks: str
    protocol: str
    encoder: str
    miou_percent: tuple[float, ...]
    class_iou_percent: tuple[float, ...]
    num_objects: int
    confusion: tuple[tuple[int, ...], ...]

    @property
    def mean_percent(self) -> float:
        """Mean mIoU over the clustering seeds."""
        return float(numpy.mean(self.miou_percent))

    @property
    def std_percent(self) -> float:
        """Standard deviation of mIoU over the clustering seeds (population)."""
        return float(numpy.std(self.miou_percent))


@dataclass(frozen=True, slots=True)
class ClusterScore:
    """One row of an evaluation without ground truth: one encoder's embeddings, clustered under one protocol on one set of object masks.

    `silhouette`: one value a clustering seed, -1..1, how clearly objects belong to their own cluster. `agreement`: adjusted Rand index between seeds,
    0 as by chance, 1 the same clusters each time. `sizes`: objects of each cluster of the first seed, from the largest down.
    """

    masks: str
    protocol: str
    encoder: str
    num_objects: int
    silhouette: tuple[float, ...]
    agreement: float
    sizes: tuple[int, ...]

    @property
    def mean_silhouette(self) -> float:
        """Mean over the clustering seeds; 0 without one."""
        return float(numpy.mean(self.silhouette)) if self.silhouette else 0.0


@dataclass(frozen=True, slots=True)
class Example:
    """An object to show: the place of its photo in the data set, and where it lies there: top, left, bottom, right as shares of the photo."""

    sample: int
    box: tuple[float, float, float, float]


@dataclass(frozen=True, slots=True)
class Evaluation:
    """Everything `mcdist evaluate` found. `headline` is the index in `scores` of the row to quote; `settings` is what was measured how."""

    step: int
    dataset: str
    classes: tuple[str, ...]
    num_photos: int
    num_photos_in_dataset: int
    mask_iou_percent: dict[str, float]
    """Foreground IoU of the predicted masks and of the proposals with the ground truth."""
    scores: tuple[Score, ...]
    headline: int
    settings: dict[str, Any]
    wall_s: float
    clusters: tuple[ClusterScore, ...] = ()
    """Where there was no ground truth: these rows instead of `scores`; `headline` is a place in them, `classes` are background and the clusters by number."""

    @property
    def has_truth(self) -> bool:
        """Whether classes were compared with a ground truth."""
        return not self.clusters

    def to_json(self) -> str:
        """The evaluation as JSON text."""
        return json.dumps(asdict(self), indent=1)

    @staticmethod
    def from_json(text: str, *, where: str) -> "Evaluation":
        """Inverse of `to_json`; DataError where `text` is none."""
        try:
            content = json.loads(text)
            scores = tuple(
                Score(
                    **{
                        **score,
                        "miou_percent": tuple(score["miou_percent"]),
                        "class_iou_percent": tuple(score["class_iou_percent"]),
                        "confusion": tuple(tuple(row) for row in score["confusion"]),
                    }
                )
                for score in content.pop("scores")
            )
            clusters = tuple(
                ClusterScore(**{**row, "silhouette": tuple(row["silhouette"]), "sizes": tuple(row["sizes"])}) for row in content.pop("clusters", ())
            )
            return Evaluation(**{**content, "classes": tuple(content["classes"])}, scores=scores, clusters=clusters)
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise DataError(f"{where} is no evaluation this mcdist wrote ({error!r}); run: mcdist evaluate RUN") from error


@dataclass(frozen=True, slots=True)
class Panel:
    """One evaluated photo, side by side. All maps `[H, W]` of the photo's own size.

    `photo` uint8 `[H, W, 3]`; `proposals` int16 instance map; `saliency` float32 probability; `clusters` uint8 class index the headline
    row predicts; `truth` uint8 class index, 255 void; None where there is none.
    """

    key: str
    photo: numpy.ndarray
    proposals: numpy.ndarray
    saliency: numpy.ndarray
    clusters: numpy.ndarray
    truth: numpy.ndarray | None
