"""ObjectAccuracy: how many objects are in the cluster of their own class. Every object counts alike, whatever its size and however well it is cut out."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy
from jaxtyping import Float, Int
from scipy.optimize import linear_sum_assignment

from mcdist.errors import DataError
from mcdist.evaluate.metrics.bootstrap import resampled_totals
from mcdist.evaluate.protocols.clustered_row import cluster_numbers, quoted_place
from mcdist.evaluate.protocols.floors import random_clusters
from mcdist.evaluate.protocols.protocol import Need
from mcdist.evaluate.settings import JudgeSettings
from mcdist.evaluate.truth import MaskCounts
from mcdist.evaluate.view import StoreView
from mcdist.evaluate.whiten import whiten
from mcdist.groups.clustering.agreement import adjusted_rand
from mcdist.groups.clustering.kmeans import NUM_ITERATIONS, NUM_STARTS, kmeans
from mcdist.records import Row, Subject
from mcdist.records.names import ACCURACY, OBJECT_ACCURACY, RANDOM_LABELS, UNIT_MEAN

ONE_TO_ONE, MAJORITY = "one to one", "majority"


@dataclass(frozen=True, slots=True, kw_only=True)
class ObjectAccuracySwitches:
    """`num_clusters`: each K, 0: classes shown without background. `pca_dim`: dimensions after PCA with whitening, 0 for none."""

    num_clusters: tuple[int, ...]
    num_seeds: int
    pca_dim: int
    pooling: str = UNIT_MEAN
    true_class: str = "of most pixels at the photo's own size, background and void left out; an object without any is left out"
    fitted_on: str = "the judged objects"
    num_iterations: int = NUM_ITERATIONS
    num_starts: int = NUM_STARTS
    matching: str = "one to one for the most objects; of more clusters than classes each has the class of most of its objects"
    absent_classes: str = "no part of a share of objects"
    flip_and_crf: str = "none"


@dataclass(frozen=True, slots=True)
class TrueObjects:
    """The objects that have a class: which rows of the table these are, their classes from 0 on, and their photos."""

    rows: Int[numpy.ndarray, " O"]
    classes: Int[numpy.ndarray, " O"]
    photo_of: Int[numpy.ndarray, " O"]


@dataclass(frozen=True, slots=True)
class ObjectAccuracy:
    """Share of objects whose cluster was matched to their class, of every encoder on every set of masks, beside random clusters."""

    switches: ObjectAccuracySwitches
    name: str = OBJECT_ACCURACY
    needs: ClassVar[frozenset[Need]] = frozenset({"objects", "truth"})

    def judge(self, store: StoreView) -> list[Row]:
        """Rows by masks, then number of clusters, then encoder. A set of masks in which no object has a class gets none."""
        rows = []
        for masks in store.masks:
            objects = true_objects(store.known_truth.counts[masks])
            if len(objects.rows):
                for num_clusters in cluster_numbers(self.switches.num_clusters, store=store):
                    subjects = [Subject(encoder, masks) for encoder in (*store.encoders, RANDOM_LABELS)]
                    rows += [self._row(store, subject=subject, objects=objects, num_clusters=num_clusters) for subject in subjects]
        if not rows:
            raise DataError(f"{self.name} needs an object that covers a pixel of a class, {store.dataset} has none; check evaluate.classes")
        return rows

    def quote(self, rows: Sequence[Row]) -> int:
        """The trained encoder on the masks that it predicts."""
        return quoted_place(rows)

    def _row(self, store: StoreView, *, subject: Subject, objects: TrueObjects, num_clusters: int) -> Row:
        """Details: objects with a class and without, and the adjusted Rand index of the clusters with the classes, mean over seeds."""
        num_objects, num_photos = len(objects.rows), store.store.num_photos
        found = [self._clusters(store, subject=subject, objects=objects, num_clusters=num_clusters, seed=seed) for seed in range(self.switches.num_seeds)]
        num_classes = len(store.known_truth.kept) - 1
        right = [is_right(clusters, classes=objects.classes, num_clusters=num_clusters, num_classes=num_classes) for clusters in found]
        draws = numpy.mean([_shares(one, photo_of=objects.photo_of, num_photos=num_photos) for one in right], axis=0).astype(numpy.float32)
        details = {
            "num_clusters": num_clusters,
            "matching": ONE_TO_ONE if num_clusters <= num_classes else MAJORITY,
            "num_objects": num_objects,
            "num_without_class": store.num_objects(subject.masks) - num_objects,
            "adjusted_rand": float(numpy.mean([adjusted_rand(clusters, other=objects.classes) for clusters in found])),
        }
        values = tuple(float(100 * one.mean()) for one in right)
        return Row(protocol=self.name, subject=subject, metric=ACCURACY, unit="%", values=values, details=details, draws=tuple(draws.tolist()))

    def _clusters(self, store: StoreView, *, subject: Subject, objects: TrueObjects, num_clusters: int, seed: int) -> Int[numpy.ndarray, " O"]:
        if subject.encoder == RANDOM_LABELS:
            return random_clusters(len(objects.rows), num_clusters=num_clusters, seed=seed)
        vectors = store.vectors(subject, pooling=self.switches.pooling)[objects.rows]
        points = whiten(vectors, dim=self.switches.pca_dim) if self.switches.pca_dim else vectors
        return kmeans(points.numpy(), num_clusters=num_clusters, seed=seed)


def true_objects(counts: MaskCounts) -> TrueObjects:
    """The objects with a pixel of a class that is not background, each with the class of most such pixels, the first of several."""
    others = counts.histograms[:, 1:]
    rows = numpy.flatnonzero(others.any(axis=1))
    return TrueObjects(rows, others[rows].argmax(axis=1), counts.photo_of[rows])


def is_right(clusters: Int[numpy.ndarray, " O"], *, classes: Int[numpy.ndarray, " O"], num_clusters: int, num_classes: int) -> numpy.ndarray:
    """Whether each object is in a cluster that stands for its class.

    Up to as many clusters as classes are matched one to one, so that the most objects are right; of more, each stands for the class of most of its objects.
    """
    confusion = numpy.zeros((num_clusters, num_classes), dtype=numpy.int64)
    numpy.add.at(confusion, (clusters, classes), 1)
    class_of = confusion.argmax(axis=1) if num_clusters > num_classes else linear_sum_assignment(confusion, maximize=True)[1]
    right: numpy.ndarray = class_of[clusters] == classes
    return right


def _shares(right: numpy.ndarray, *, photo_of: Int[numpy.ndarray, " O"], num_photos: int) -> Float[numpy.ndarray, " draws"]:
    """The share of right objects in % in each resampling of the photos; NaN where it has no object."""
    by_photo = numpy.zeros((num_photos, 2), dtype=numpy.int64)
    numpy.add.at(by_photo, photo_of, numpy.stack([right, numpy.ones(len(right), dtype=bool)], axis=1).astype(numpy.int64))
    totals = resampled_totals(by_photo)
    return numpy.divide(100.0 * totals[:, 0], totals[:, 1], out=numpy.full(len(totals), numpy.nan), where=totals[:, 1] > 0)


def object_accuracy(settings: JudgeSettings) -> ObjectAccuracy:
    """Share of objects in the cluster of their class: K-means of each object's mean unit embedding, an object one vote.

    Source: ours, for data sets of object crops and for trials in which masks shall not decide.
    """
    switches = ObjectAccuracySwitches(num_clusters=settings.num_clusters, num_seeds=settings.num_seeds, pca_dim=settings.mean_embedding_pca_dim)
    return ObjectAccuracy(switches)
