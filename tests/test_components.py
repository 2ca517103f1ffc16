"""One connected component for builders, proposals and evaluation."""

import numpy
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from mcdist.building.pictures.mask import instances_of
from mcdist.components import connected_components
from mcdist.evaluate.extract.masks import component_objects
from mcdist.proposals.components import objects_of


def flooded(foreground: numpy.ndarray) -> list[list[int]]:
    """The definition, pixel by pixel: each unlabelled foreground pixel in reading order starts a component of all that touch, corners included."""
    height, width = foreground.shape
    labels = [[0] * width for _ in range(height)]
    number = 0
    for row in range(height):
        for column in range(width):
            if foreground[row, column] and not labels[row][column]:
                number += 1
                left = [(row, column)]
                while left:
                    y, x = left.pop()
                    if 0 <= y < height and 0 <= x < width and foreground[y, x] and not labels[y][x]:
                        labels[y][x] = number
                        left.extend((y + dy, x + dx) for dy in (-1, 0, 1) for dx in (-1, 0, 1))
    return labels


@settings(max_examples=150, deadline=None)
@given(arrays(bool, array_shapes(min_dims=2, max_dims=2, min_side=1, max_side=12), elements=st.booleans()))
def test_components_are_the_connected_ones_in_reading_order(foreground: numpy.ndarray) -> None:
    labels, num_found = connected_components(foreground)
    assert labels.tolist() == flooded(foreground)
    assert num_found == labels.max(initial=0)


def test_two_pixels_that_touch_at_a_corner_are_one_object_for_builders_proposals_and_evaluation() -> None:
    diagonal = numpy.zeros((6, 6), dtype=bool)
    diagonal[2, 2] = diagonal[3, 3] = True
    built = instances_of(diagonal.astype(numpy.int32) * 255, mask_values="auto", components=True).values
    proposed = objects_of(diagonal, split=True)
    predicted, num_dropped = component_objects(torch.from_numpy(diagonal).float()[None] * 4 - 2, area_min=0.0, logit_min=0.5)
    assert built.tolist() == proposed.tolist() == predicted[0].tolist() == diagonal.astype(int).tolist()
    assert not num_dropped.any()
