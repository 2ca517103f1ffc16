"""Exactness: counts, matchings and scores against scikit-learn, scipy, torchmetrics and loops over pixels, on maps that are made to be awkward."""

from itertools import permutations, product

import numpy
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.optimize import linear_sum_assignment

from mcdist.errors import ConfigError, DataError
from mcdist.evaluate.metrics.assign import HIGHEST_IOU, HUNGARIAN, HUNGARIAN_PIXELS, MAJORITY, assign, assign_segments
from mcdist.evaluate.metrics.confusion import Confusion, class_confusion, class_counts, counts_iou, mean_iou, pair_iou, pixel_accuracy
from mcdist.groups.clustering.agreement import adjusted_rand, adjusted_rand_of, mutual_information_of

ROWS, CLASSES, VOID = 5, 4, 255

Maps = tuple[numpy.ndarray, numpy.ndarray]


@st.composite
def maps(draw: st.DrawFn) -> Maps:
    """A prediction and a truth: noise, one value, stripes, a single pixel, none; with void anywhere."""
    shape = draw(st.sampled_from([(0, 3), (1, 1), (1, 40), (7, 9), (16, 16)]))
    repeat = draw(st.sampled_from([1, 3, 50]))
    dtype = draw(st.sampled_from([numpy.uint8, numpy.int16, numpy.int64]))
    predicted = draw(arrays(dtype, shape, elements=st.integers(0, ROWS - 1)))
    truth = draw(arrays(numpy.uint8, shape, elements=st.sampled_from([*range(CLASSES), VOID])))
    return predicted.repeat(repeat, axis=1), truth.repeat(repeat, axis=1)


def counted(*pairs: Maps, num_rows: int = ROWS) -> numpy.ndarray:
    confusion = Confusion(num_rows=num_rows, num_classes=CLASSES)
    for predicted, truth in pairs:
        confusion.add(predicted, truth=truth)
    return confusion.counts


def known(pair: Maps) -> Maps:
    """The pixels that count, flat."""
    predicted, truth = pair
    return predicted[truth != VOID], truth[truth != VOID]


@settings(max_examples=60, deadline=None)
@given(maps(), maps())
def test_counts_are_those_of_a_loop_over_pixels(one: Maps, other: Maps) -> None:
    expected = numpy.zeros((ROWS, CLASSES), dtype=int)
    for pair in (one, other):
        for row, label in zip(*known(pair), strict=True):
            expected[row, label] += 1
    assert (counted(one, other) == expected).all()


def test_counts_go_on_past_two_to_the_31_and_the_53() -> None:
    confusion = Confusion(num_rows=2, num_classes=2)
    confusion.counts[:] = [[2**62, 2**53 + 1], [0, 2**31]]
    confusion.add(numpy.zeros((1, 3), dtype=numpy.uint8), truth=numpy.ones((1, 3), dtype=numpy.uint8))
    assert confusion.counts.tolist() == [[2**62, 2**53 + 4], [0, 2**31]]


@pytest.mark.parametrize(
    ("predicted", "truth", "message"),
    [
        ([[0, 5]], [[0, 1]], r"a predicted number must be in 0\.\.4, got 5"),
        ([[0, -1]], [[0, 1]], r"a predicted number must be in 0\.\.4, got -1"),
        ([[0, 1]], [[0, 4]], r"an id of the ground truth must be in 0\.\.3, got 4"),
        ([[0, 1]], [[0], [1]], r"must have the size of its ground truth, \(2, 1\), got \(1, 2\)"),
    ],
)
def test_nothing_changes_a_score_silently(predicted: list, truth: list, message: str) -> None:
    confusion = Confusion(num_rows=ROWS, num_classes=CLASSES)
    with pytest.raises(DataError, match=message):
        confusion.add(numpy.array(predicted), truth=numpy.array(truth))
    assert not confusion.counts.any()


def test_a_prediction_under_void_may_be_anything() -> None:
    assert counted((numpy.array([[99, 1]]), numpy.array([[VOID, 1]]))).sum() == 1


@settings(max_examples=60, deadline=None)
@given(maps())
def test_scores_are_those_of_scikit_learn(pair: Maps) -> None:
    from sklearn import metrics

    predicted, truth = known(pair)
    table = counted(pair)
    if len(truth):
        assert adjusted_rand_of(table) == pytest.approx(metrics.adjusted_rand_score(truth, predicted), abs=1e-12)
        assert mutual_information_of(table) == pytest.approx(metrics.normalized_mutual_info_score(truth, predicted), abs=1e-9)
        assert adjusted_rand(predicted.astype(int), other=truth.astype(int)) == adjusted_rand_of(table)
    predicted = predicted % CLASSES
    matched = counted((pair[0] % CLASSES, pair[1]), num_rows=CLASSES)
    if len(truth):
        assert (matched == metrics.confusion_matrix(truth, predicted, labels=range(CLASSES)).T).all()
        assert pixel_accuracy(matched) == metrics.accuracy_score(truth, predicted)
        expected = metrics.jaccard_score(truth, predicted, labels=range(CLASSES), average=None, zero_division=0)
        assert numpy.allclose(counts_iou(class_counts(matched)), expected)
    else:
        assert numpy.isnan(pixel_accuracy(matched))


@pytest.mark.slow  # torchmetrics takes seconds to import
@settings(max_examples=30, deadline=None)
@given(maps())
def test_mean_iou_is_that_of_torchmetrics_with_either_rule(pair: Maps) -> None:
    from torchmetrics.functional.classification import multiclass_jaccard_index

    predicted, truth = known((pair[0] % CLASSES, pair[1]))
    counts = class_counts(counted((pair[0] % CLASSES, pair[1]), num_rows=CLASSES))
    if not len(truth):
        assert numpy.isnan(mean_iou(counts, absent="left out")) and mean_iou(counts, absent="zero") == 0
        return
    of_class = multiclass_jaccard_index(torch.from_numpy(predicted.astype(int)), torch.from_numpy(truth.astype(int)), CLASSES, average="none").double().numpy()
    assert numpy.allclose(mean_iou(counts, absent="zero"), of_class.mean())
    assert numpy.allclose(mean_iou(counts, absent="left out"), of_class[numpy.unique(truth)].mean())


@settings(max_examples=60, deadline=None)
@given(arrays(numpy.int64, st.tuples(st.integers(1, 6), st.integers(2, 5)), elements=st.integers(0, 30)))
def test_one_to_one_matchings_are_scipys_and_leave_the_rest_unmatched(confusion: numpy.ndarray) -> None:
    for matching, scores in ((HUNGARIAN, pair_iou(confusion)), (HUNGARIAN_PIXELS, confusion)):
        class_of = assign(confusion, matching=matching, unmatched=-1)
        taken = class_of[class_of >= 0]
        assert len(set(taken.tolist())) == len(taken) == min(confusion.shape)
        rows, columns = linear_sum_assignment(-scores)
        assert scores[class_of >= 0, taken].sum() == pytest.approx(scores[rows, columns].sum())


@settings(max_examples=40, deadline=None)
@given(maps())
def test_many_to_one_matchings_are_those_of_passes_over_all_pairs(pair: Maps) -> None:
    predicted, truth = known(pair)
    table = counted(pair)
    inside = {(row, label): int(((predicted == row) & (truth == label)).sum()) for row, label in product(range(ROWS), range(CLASSES))}
    either = {(row, label): int(((predicted == row) | (truth == label)).sum()) for row, label in product(range(ROWS), range(CLASSES))}
    for matching, score in (
        (MAJORITY, lambda row, label: inside[row, label]),
        (MAJORITY, lambda row, label: inside[row, label] / max(1, int((predicted == row).sum()))),  # the highest precision
        (HIGHEST_IOU, lambda row, label: inside[row, label] / max(1, either[row, label])),
    ):
        expected = [max(range(CLASSES), key=lambda label: score(row, label)) for row in range(ROWS)]
        assert assign(table, matching=matching).tolist() == expected


def test_permuted_clusters_score_100_under_every_matching() -> None:
    truth = numpy.random.default_rng(0).integers(0, CLASSES, (20, 20)).astype(numpy.uint8)
    for order, matching in product(permutations(range(CLASSES)), (HUNGARIAN, HUNGARIAN_PIXELS, MAJORITY, HIGHEST_IOU)):
        table = counted((numpy.array(order)[truth], truth), num_rows=CLASSES)
        matched = class_confusion(table, class_of=assign(table, matching=matching))
        assert mean_iou(class_counts(matched), absent="zero") == pixel_accuracy(matched) == 1


def test_swapped_classes_do_not_score_100_where_no_clusters_are_matched() -> None:
    truth = numpy.array([[0, 1, 2, 3]], dtype=numpy.uint8)
    assert mean_iou(class_counts(counted((numpy.array([[0, 2, 1, 3]]), truth), num_rows=CLASSES)), absent="zero") == 0.5


def test_more_groups_than_classes_are_background_where_matched_one_to_one() -> None:
    confusion = numpy.array([[9, 0, 0], [0, 5, 1], [0, 1, 8], [4, 2, 2]])
    assert assign_segments(confusion, matching=HUNGARIAN).tolist() == [0, 1, 2, 0]
    assert assign_segments(confusion, matching=MAJORITY).tolist() == [0, 1, 2, 0]
    with pytest.raises(ConfigError, match="matching must be one of hungarian, hungarian-pixels, majority, iou, got 'best'"):
        assign(confusion, matching="best")


def test_agreement_of_nothing_and_of_one_cluster_each_is_1_and_of_huge_counts_exact() -> None:
    assert adjusted_rand_of(numpy.zeros((2, 2), dtype=int)) == mutual_information_of(numpy.zeros((2, 2), dtype=int)) == 1
    assert adjusted_rand_of(numpy.array([[7]])) == mutual_information_of(numpy.array([[7]])) == 1
    huge = numpy.array([[2**41, 2**40], [2**39, 2**41]])
    assert adjusted_rand_of(huge) == pytest.approx(adjusted_rand_of(huge // 2**20), abs=1e-6)
