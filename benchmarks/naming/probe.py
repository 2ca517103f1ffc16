"""The probe that names are compared with: logistic regression from a frozen backbone's features to classes, on photos labelled by hand."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy
import torch
from jaxtyping import Float, Float32, Int, UInt8
from torch import Tensor

from benchmarks.naming.score import miou
from mcdist import build
from mcdist.config import Config
from mcdist.data.loader import read_sample
from mcdist.evaluate.metrics.labels import VOID_CLASS, LabelMap
from mcdist.evaluate.probes.logistic import LinearClassifier, fit_logistic
from mcdist.evaluate.probes.patch_labels import majority, patch_counts
from mcdist.evaluate.probes.upsampled import pixel_classes
from mcdist.evaluate.table_names import patches_of
from mcdist.records.names import TRAINED_BACKBONE
from mcdist.store.names import PHOTOS
from mcdist.store.store import FeatureStore

DECAYS = (1.0, 1e-1, 1e-2, 1e-3, 1e-4)
"""Strengths of L2 that a probe may choose from: it minimises mean cross-entropy + decay |W|^2 / 2 over standardised features."""
NUM_FOLDS = 3
CHOICE_STEP, CELL_STEP = 3, 2
"""The strength is chosen on every third cell of every third row, the probe is then fitted on every second of every second: neighbours see almost the same
pixels, and a tenth or a quarter of the cells takes as much less time."""
PIECE = 2**14
"""Cells that a fit looks at at a time."""


@dataclass(frozen=True, slots=True)
class LabelledMap:
    """A photo's frozen features, and its ground truth in class indices (VOID_CLASS: none)."""

    features: Float[numpy.ndarray, "h w D"]
    truth: UInt8[numpy.ndarray, "H W"]

    def cells(self, *, num_classes: int, step: int) -> tuple[Float32[Tensor, "N D"], Int[Tensor, " N"]]:
        """Features and majority class of every `step`-th cell of every `step`-th row that has one."""
        height, width = self.features.shape[:2]
        classes = majority(patch_counts(self.truth[None], height=height, width=width, num_classes=num_classes)[0], with_void=False)[::step, ::step]
        known = classes != VOID_CLASS
        return torch.from_numpy(self.features[::step, ::step][known]).float(), torch.from_numpy(classes[known]).long()


def labelled_maps(store: FeatureStore, *, shards: str, config: Config, labels: LabelMap) -> Iterator[LabelledMap]:
    """Of every photo of a store, in order. Features are mapped from disk."""
    reader = build.open_reader(shards, key="--train", data=config.data)
    features = (row for chunk in store.column(PHOTOS, patches_of(TRAINED_BACKBONE)).chunks() for row in chunk)
    for index, of_photo in enumerate(features):
        truth = read_sample(reader, index, with_segments=True).segments
        assert truth is not None, "the store has counted it"
        yield LabelledMap(of_photo, labels.apply(truth.numpy()))


@dataclass(frozen=True, slots=True)
class Probe:
    """A linear classifier of standardised features, with the L2 that it chose, and whether L-BFGS came to its end."""

    mean: Float[Tensor, " D"]
    std: Float[Tensor, " D"]
    classifier: LinearClassifier
    decay: float

    def logits(self, features: Float32[Tensor, "N D"]) -> Float32[Tensor, "N C"]:
        """Of cells."""
        return self.classifier.logits((features - self.mean) / self.std)

    def classes(self, photo: LabelledMap) -> UInt8[numpy.ndarray, "H W"]:
        """The class of each pixel: the largest of the logits, upsampled bilinearly."""
        logits = self.logits(torch.from_numpy(photo.features.astype(numpy.float32)).flatten(0, 1)).unflatten(0, photo.features.shape[:2])
        return pixel_classes(logits.numpy(), size_px=(photo.truth.shape[0], photo.truth.shape[1]))


def fitted_probe(photos: Sequence[LabelledMap], *, num_classes: int) -> Probe:
    """A probe on the cells of `photos`. Of DECAYS it takes the one with the best mIoU on photos held out, each once, in NUM_FOLDS folds."""
    few = [photo.cells(num_classes=num_classes, step=CHOICE_STEP) for photo in photos]
    confusions = numpy.zeros((len(DECAYS), num_classes, num_classes), dtype=numpy.int64)
    for fold in range(min(NUM_FOLDS, len(photos))):
        held = few[fold::NUM_FOLDS]
        probes = _path([cells for place, cells in enumerate(few) if place % NUM_FOLDS != fold], num_classes=num_classes, decays=DECAYS)
        for place, probe in enumerate(probes):
            for features, classes in held:
                confusions[place] += _confusion(probe.logits(features).argmax(dim=1), classes, num_classes=num_classes)
    chosen = int(numpy.argmax([miou(confusion) for confusion in confusions]))
    *_, probe = _path([photo.cells(num_classes=num_classes, step=CELL_STEP) for photo in photos], num_classes=num_classes, decays=DECAYS[: chosen + 1])
    return probe


def _path(cells: Sequence[tuple[Tensor, Tensor]], *, num_classes: int, decays: Sequence[float]) -> list[Probe]:
    """A probe for each strength, strongest first; each fit starts from the one before."""
    features, classes = (torch.cat(part) for part in zip(*cells, strict=True))
    mean, std = features.mean(dim=0), features.std(dim=0).clamp(min=1e-4)
    inputs = (features - mean) / std
    probes: list[Probe] = []
    for decay in decays:
        classifier = fit_logistic(
            _pieces(inputs, classes),
            num_dims=inputs.shape[1],
            num_classes=num_classes,
            inverse_penalty=1 / (decay * len(inputs)),
            start=probes[-1].classifier if probes else None,
        )
        probes.append(Probe(mean, std, classifier, decay))
    return probes


def _pieces(inputs: Tensor, classes: Tensor) -> Callable[[], Iterator[tuple[Tensor, Tensor]]]:
    return lambda: zip(inputs.split(PIECE), classes.split(PIECE), strict=True)


def _confusion(predicted: Int[Tensor, " N"], truth: Int[Tensor, " N"], *, num_classes: int) -> Int[numpy.ndarray, "C C"]:
    return torch.bincount(predicted * num_classes + truth, minlength=num_classes**2).view(num_classes, num_classes).numpy()


def miou_of_probes(probes: Sequence[Probe], *, photos: Iterator[LabelledMap], num_classes: int) -> list[float]:
    """mIoU in % of each probe over the pixels of photos, which are looked at once."""
    confusions = numpy.zeros((len(probes), num_classes, num_classes), dtype=numpy.int64)
    for photo in photos:
        counted = photo.truth != VOID_CLASS
        truth = torch.from_numpy(photo.truth[counted]).long()
        for place, probe in enumerate(probes):
            confusions[place] += _confusion(torch.from_numpy(probe.classes(photo)[counted]).long(), truth, num_classes=num_classes)
    return [miou(confusion) for confusion in confusions]
