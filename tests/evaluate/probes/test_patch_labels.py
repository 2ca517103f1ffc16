"""Labels of patches against a loop over every pixel."""

import numpy
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mcdist.evaluate.metrics.labels import VOID_CLASS
from mcdist.evaluate.probes.patch_labels import class_frequencies, joined_patches, label_patches, majority, patch_counts


def naive_counts(labels: numpy.ndarray, *, height: int, width: int, num_classes: int) -> numpy.ndarray:
    counts = numpy.zeros((len(labels), height, width, num_classes + 1), dtype=numpy.int64)
    for (photo, row, column), label in numpy.ndenumerate(labels):
        counts[photo, row * height // labels.shape[1], column * width // labels.shape[2], min(int(label), num_classes)] += 1
    return counts


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 99), st.integers(1, 5), st.integers(1, 5), st.integers(0, 7), st.integers(0, 7))
def test_counts_are_those_of_a_loop_on_ragged_sizes_too(seed: int, height: int, width: int, more: int, wider: int) -> None:
    random = numpy.random.default_rng(seed)
    labels = random.choice(numpy.array([0, 1, 2, VOID_CLASS], dtype=numpy.uint8), size=(2, height + more, width + wider))
    assert numpy.array_equal(patch_counts(labels, height=height, width=width, num_classes=3), naive_counts(labels, height=height, width=width, num_classes=3))


def test_frequencies_leave_void_out_or_take_it_for_a_class() -> None:
    counts = numpy.array([[1, 0, 3, 4], [0, 0, 0, 8]])
    assert class_frequencies(counts).tolist() == [[0.25, 0, 0.75], [0, 0, 0]]
    assert class_frequencies(counts, void_as=0).tolist() == [[0.625, 0, 0.375], [1, 0, 0]]


@pytest.mark.parametrize("with_void,expected", [(False, [0, 2, 255, 1]), (True, [0, 255, 255, 1])])
def test_the_majority_is_the_first_of_equal_classes_and_void_only_where_it_may_be(with_void: bool, expected: list[int]) -> None:
    counts = numpy.array([[3, 3, 0, 2], [0, 0, 1, 2], [0, 0, 0, 5], [0, 2, 0, 2]])
    assert majority(counts, with_void=with_void).tolist() == expected


def test_patches_of_labels_join_to_the_map_again() -> None:
    labels = numpy.random.default_rng(0).integers(0, 200, size=(2, 8, 12)).astype(numpy.uint8)
    patches = label_patches(labels, height=4, width=3)
    assert patches.shape == (2, 4, 3, 8)
    assert patches[1, 2, 1].tolist() == labels[1, 4:6, 4:8].ravel().tolist()
    assert numpy.array_equal(joined_patches(patches, size_px=(8, 12)), labels)
