from itertools import permutations

import numpy
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from mcdist.evaluate.metrics.assign import HUNGARIAN, MAJORITY, assign, matching_for
from mcdist.evaluate.metrics.confusion import class_confusion, class_iou, cluster_confusion, foreground_iou, object_histograms, pair_iou


@settings(max_examples=40, deadline=None)
@given(arrays(numpy.int16, (5, 6), elements=st.integers(-1, 4)), arrays(numpy.uint8, (5, 6), elements=st.sampled_from([0, 1, 2, 255])))
def test_histograms_count_what_a_loop_over_pixels_counts(objects: numpy.ndarray, truth: numpy.ndarray) -> None:
    expected = numpy.zeros((4, 3), dtype=int)
    for number, label in zip(objects.flat, truth.flat, strict=True):
        if label != 255:
            expected[number if 1 <= number <= 3 else 0, label] += 1
    assert object_histograms(objects, truth=truth, num_objects=3, num_classes=3).tolist() == expected.tolist()


def test_a_clusterings_confusion_is_that_of_the_pixels() -> None:
    random = numpy.random.default_rng(0)
    objects, truth = random.integers(0, 5, (8, 9)), random.integers(0, 3, (8, 9)).astype(numpy.uint8)
    histograms = object_histograms(objects, truth=truth, num_objects=4, num_classes=3)
    clusters = numpy.array([1, 0, 1, 1])
    found = cluster_confusion(clusters, histograms=histograms[1:], background=histograms[0], num_clusters=2)
    predicted = numpy.concatenate([[2], clusters])[objects]
    assert found.tolist() == [[int(((predicted == row) & (truth == column)).sum()) for column in range(3)] for row in range(3)]


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 4).flatmap(lambda rows: arrays(numpy.int64, (rows, 4), elements=st.integers(0, 20))))
def test_hungarian_finds_the_best_of_all_permutations(confusion: numpy.ndarray) -> None:
    iou = pair_iou(confusion)
    rows = range(confusion.shape[0])
    best = max(sum(iou[row, order[row]] for row in rows) for order in permutations(range(4), confusion.shape[0]))
    class_of = assign(confusion, matching=HUNGARIAN)
    assert len(set(class_of.tolist())) == confusion.shape[0]
    assert numpy.isclose(iou[list(rows), class_of].sum(), best)
    assert numpy.isclose(class_iou(class_confusion(confusion, class_of=class_of)).sum(), best)


def test_more_clusters_than_classes_share_classes_by_majority() -> None:
    assert matching_for(num_clusters=2, num_classes=3) == HUNGARIAN
    assert matching_for(num_clusters=3, num_classes=3) == MAJORITY
    confusion = numpy.array([[1, 5, 0], [0, 4, 1], [0, 0, 7], [9, 1, 0]])
    assert assign(confusion, matching=MAJORITY).tolist() == [1, 1, 2, 0]


def test_a_class_nobody_was_matched_to_has_iou_zero() -> None:
    confusion = class_confusion(numpy.array([[8, 2, 4]]), class_of=numpy.array([0]))
    assert class_iou(confusion).tolist() == [8 / 14, 0.0, 0.0]


def test_foreground_iou_is_over_the_whole_set_without_void() -> None:
    histograms, background = numpy.array([[2, 3, 1], [0, 0, 4]]), numpy.array([50, 1, 1])
    assert foreground_iou(histograms=histograms, background=background) == 8 / 12
    assert foreground_iou(histograms=numpy.zeros((0, 3), dtype=int), background=numpy.array([5, 0, 0])) == 0.0
