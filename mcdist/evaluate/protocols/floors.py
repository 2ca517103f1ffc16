"""Floors and a ceiling of a protocol that clusters objects: what luck reaches under the same masks, and the most that the masks allow."""

import numpy
from jaxtyping import Float, Int

from mcdist.evaluate.truth import MaskCounts
from mcdist.records.names import TRUE_MASKS


def random_clusters(num_objects: int, *, num_clusters: int, seed: int) -> Int[numpy.ndarray, " O"]:
    """A cluster for each object, drawn uniformly."""
    return numpy.random.default_rng(seed).integers(num_clusters, size=num_objects)


def random_vectors(num_objects: int, *, num_dims: int, seed: int) -> Float[numpy.ndarray, "O D"]:
    """A Gaussian vector for each object: features that know nothing, to be clustered like any other."""
    return numpy.random.default_rng(seed).standard_normal((num_objects, num_dims), dtype=numpy.float32)


def majority_classes(counts: MaskCounts) -> tuple[Int[numpy.ndarray, " O"], int]:
    """(class of each object, class of what is outside): the one with most pixels there, the first where several tie. No clustering of whole masks has more
    pixels right."""
    return counts.histograms.argmax(axis=1), int(counts.background.argmax())


def true_masks(counts: MaskCounts) -> MaskCounts:
    """The ground truth's own masks: in each photo an object for each class but background that it shows, and background outside."""
    by_photo = counts.outside.copy()
    numpy.add.at(by_photo, counts.photo_of, counts.histograms)
    photos, others = numpy.nonzero(by_photo[:, 1:])
    histograms = numpy.zeros((len(photos), by_photo.shape[1]), dtype=numpy.int64)
    histograms[numpy.arange(len(photos)), others + 1] = by_photo[photos, others + 1]
    outside = numpy.where(numpy.arange(by_photo.shape[1]) == 0, by_photo, 0)
    return MaskCounts(TRUE_MASKS, histograms, outside, photos)
