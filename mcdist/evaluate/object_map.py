"""Object map: the objects' vectors on their two main directions, before and after training. It shows whether classes come apart, without clustering."""

import numpy
import torch
from jaxtyping import Bool, Float, Int
from torch.nn.functional import normalize

from mcdist.evaluate.painting import Painting
from mcdist.evaluate.view import StoreView
from mcdist.records import Subject
from mcdist.records.names import BASELINE, TRAINED, UNIT_MEAN
from mcdist.records.object_map import ObjectMap, Projection

NUM_SHOWN = 1500
"""Objects of a map, evenly over the set; more would only cover each other."""


def object_map(store: StoreView, *, painting: Painting) -> ObjectMap | None:
    """The objects of the painting's masks: unit means on two principal components; None of fewer than three objects.

    A colour is the majority class of the ground truth where there is one, else what the painting gave. Objects without an evaluated pixel are left out.
    """
    masks = painting.masks
    encoders = [encoder for encoder in (BASELINE, TRAINED) if encoder in store.encoders] or list(store.encoders[:1])
    class_of, known = _classes(store, painting=painting)
    places = numpy.flatnonzero(known)
    places = places[numpy.unique(numpy.linspace(0, len(places) - 1, min(NUM_SHOWN, len(places))).round().astype(int))] if len(places) else places
    if len(places) < 3:
        return None
    projections = []
    for encoder in encoders:
        vectors = normalize(store.vectors(Subject(encoder, masks), pooling=UNIT_MEAN)[torch.from_numpy(places)].double(), dim=1)
        points, explained = plane_of(vectors.numpy())
        projections.append(Projection(encoder, 100 * explained, tuple(map(tuple, points.tolist()))))
    classes = store.truth.classes if store.truth is not None else painting.classes
    return ObjectMap(masks, classes, store.truth is not None, tuple(class_of[places].tolist()), tuple(projections))


def plane_of(vectors: Float[numpy.ndarray, "O D"]) -> tuple[Float[numpy.ndarray, "O 2"], float]:
    """(points within 0..1, share of the variance): the two principal components, each with its largest loading positive, so that the same is drawn again."""
    centred = vectors - vectors.mean(axis=0)
    variance, directions = numpy.linalg.eigh(centred.T @ centred)
    two = directions[:, ::-1][:, :2]
    two = two * numpy.sign(two[numpy.abs(two).argmax(axis=0), numpy.arange(two.shape[1])])
    points = centred @ two
    if points.shape[1] == 1:
        points = numpy.concatenate([points, numpy.zeros_like(points)], axis=1)
    low, length = points.min(axis=0), float(numpy.ptp(points, axis=0).max())
    explained = float(variance[::-1][:2].sum() / variance.sum()) if variance.sum() > 0 else 0.0
    return (points - low) / (length or 1.0), explained


def _classes(store: StoreView, *, painting: Painting) -> tuple[Int[numpy.ndarray, " O"], Bool[numpy.ndarray, " O"]]:
    """(class of each object, whether it is known)."""
    if store.truth is None:
        return painting.class_of_object, numpy.ones(len(painting.class_of_object), dtype=bool)
    histograms = store.truth.counts[painting.masks].histograms
    return histograms.argmax(axis=1), histograms.sum(axis=1) > 0
