"""The DAVIS score: cases worked out by hand, and agreement with formulas written down naively."""

import math

import numpy
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import ndimage

from mcdist.errors import DataError
from mcdist.evaluate.metrics.davis import (
    ObjectScore,
    SequenceScorer,
    Statistics,
    boundary_measure,
    boundary_of,
    boundary_radius_px,
    davis_score,
    frame_scores,
    num_objects_of,
    region_similarity,
    statistics_of,
)

EMPTY = numpy.zeros((100, 100), dtype=bool)


def square(*, top: int = 20, left: int = 20, side: int = 10, shape: tuple[int, int] = (100, 100)) -> numpy.ndarray:
    mask = numpy.zeros(shape, dtype=bool)
    mask[top : top + side, left : left + side] = True
    return mask


def test_both_empty_agree_fully():
    assert region_similarity(EMPTY, truth=EMPTY) == 1
    assert boundary_measure(EMPTY, truth=EMPTY) == 1


@pytest.mark.parametrize(("found", "truth"), [(EMPTY, square()), (square(), EMPTY)])
def test_one_empty_scores_nothing(found, truth):
    assert region_similarity(found, truth=truth) == 0
    assert boundary_measure(found, truth=truth) == 0


def test_a_perfect_mask_scores_one():
    assert region_similarity(square(), truth=square()) == 1
    assert boundary_measure(square(), truth=square()) == 1


def test_a_shift_by_one_pixel():
    """10 x 10 moved right by 1: J = 90 / 110. Its boundary is a ring of 11 x 11, 40 pixels; of the moved ring 20 lie on it, and all within one pixel."""
    moved = square(left=21)
    assert region_similarity(moved, truth=square()) == pytest.approx(90 / 110)
    assert boundary_of(square()).sum() == 40
    assert boundary_measure(moved, truth=square(), radius_px=0) == pytest.approx(0.5)
    assert boundary_measure(moved, truth=square(), radius_px=1) == 1
    assert boundary_measure(moved, truth=square()) == 1  # 100 x 100: within 2 pixels


def test_a_shift_by_more_than_the_disk_counts_the_pixels_that_are_near():
    """Moved right by 3 with a disk of 2: of the top and bottom lines (11 pixels each) 10 are near, of the inner 2 x 9 side pixels those within a disk."""
    moved = square(left=23)
    assert boundary_measure(moved, truth=square(), radius_px=2) == pytest.approx(_naive_boundary(moved, square(), radius=2))
    assert boundary_measure(moved, truth=square(), radius_px=2) < 1


def test_the_disk_has_the_radius_of_the_official_tools():
    assert boundary_radius_px(480, 854) == 8
    assert boundary_radius_px(100, 100) == 2
    assert boundary_radius_px(3, 4) == 1


def test_the_boundary_at_the_frames_edge_has_no_corner():
    """The whole frame has no boundary; its left half one column."""
    assert not boundary_of(numpy.ones((5, 6), dtype=bool)).any()
    left = numpy.zeros((4, 6), dtype=bool)
    left[:, :3] = True
    assert numpy.argwhere(boundary_of(left)).tolist() == [[0, 2], [1, 2], [2, 2], [3, 2]]
    corner = numpy.zeros((3, 3), dtype=bool)
    corner[2, 2] = True
    assert numpy.argwhere(boundary_of(corner)).tolist() == [[1, 1], [1, 2], [2, 1]]


def test_void_counts_nowhere():
    """Two columns of the found mask stick out, over void: J is 1 without them, and the boundary is cut where void begins."""
    truth = square().astype(numpy.uint8)
    truth[20:30, 30:32] = 255
    region, boundary = frame_scores(square(side=10) | square(left=22), truth=truth, num_objects=1)
    assert region.tolist() == [1.0]
    assert boundary.tolist() == [1.0]


def test_a_frame_of_void_alone_agrees_with_anything():
    region, boundary = frame_scores(square().astype(numpy.uint8), truth=numpy.full((100, 100), 255, dtype=numpy.uint8), num_objects=1)
    assert (region.tolist(), boundary.tolist()) == ([1.0], [1.0])


def test_in_2016_everything_but_0_is_the_object_and_255_is_no_void():
    truth = numpy.where(square(), 255, 0).astype(numpy.uint8)
    assert num_objects_of(truth, year=2016) == 1
    assert num_objects_of(truth, year=2017) == 0
    region, _ = frame_scores(square().astype(numpy.uint8), truth=truth, num_objects=1, year=2016)
    assert region.tolist() == [1.0]


def test_swapped_objects_score_nothing():
    one, two = square(), square(left=60)
    truth = one + 2 * two.astype(numpy.uint8)
    region, boundary = frame_scores(2 * one + 1 * two.astype(numpy.uint8), truth=truth, num_objects=2)
    assert region.tolist() == [0.0, 0.0]
    assert boundary.tolist() == [0.0, 0.0]


def test_the_first_and_the_last_frame_are_left_out():
    truth = square().astype(numpy.uint8)
    scorer = SequenceScorer(truth, num_frames=4)
    for found in (0 * truth, truth, truth, 0 * truth):
        scorer.add(found, truth=truth)
    assert scorer.scores() == (ObjectScore(1, (1.0, 1.0), (1.0, 1.0)),)


@pytest.mark.parametrize("num_frames", [1, 2])
def test_a_video_of_one_or_two_frames_has_nothing_to_score(num_frames):
    truth = square().astype(numpy.uint8)
    scorer = SequenceScorer(truth, num_frames=num_frames)
    for _ in range(num_frames):
        scorer.add(truth, truth=truth)
    assert scorer.scores() == ()
    with pytest.raises(DataError, match="at least three frames"):
        davis_score(scorer.scores())


def test_an_object_that_the_first_frame_does_not_number_is_not_scored():
    first, later = square().astype(numpy.uint8), square().astype(numpy.uint8)
    later[60:70, 60:70] = 2
    scorer = SequenceScorer(first, num_frames=3)
    for truth in (first, later, later):
        scorer.add(first, truth=truth)
    assert [one.number for one in scorer.scores()] == [1]
    assert scorer.scores()[0].region == (1.0,)


def test_a_number_that_is_missing_in_the_first_frame_is_scored_like_any_other():
    """Numbers 1 and 3: of 2 both sides are empty, which is full agreement."""
    truth = square().astype(numpy.uint8)
    truth[60:70, 60:70] = 3
    region, _ = frame_scores(truth, truth=truth, num_objects=num_objects_of(truth, year=2017))
    assert region.tolist() == [1.0, 1.0, 1.0]


def test_objects_of_all_sequences_have_equal_weight():
    """One sequence of one object at 1, another of three at 0: the mean is that of four objects."""
    one, nothing = ObjectScore(1, (1.0,), (1.0,)), [ObjectScore(number, (0.0,), (0.0,)) for number in (1, 2, 3)]
    score = davis_score([one, *nothing])
    assert score.region.mean == score.region_and_boundary == 0.25
    assert score.num_objects == 4


def test_mean_recall_and_decay_by_hand():
    """Eight frames: quarters share their borders, so the first is frames 1 to 3 (1 + 7/4 rounds to 3), the last 6 to 8 (1 + 21/4 rounds to 6)."""
    values = [1.0, 1.0, 0.7, 0.5, 0.5, 0.4, 0.2, 0.0]
    found = statistics_of(values)
    assert found.mean == pytest.approx(4.3 / 8)
    assert found.recall == pytest.approx(3 / 8)  # 0.5 is not above 0.5
    assert found.decay == pytest.approx(2.7 / 3 - 0.6 / 3)
    assert statistics_of([0.6]) == Statistics(mean=0.6, recall=1.0, decay=0.0)


def test_more_than_255_frames_have_quarters_too():
    """The official tool keeps the ends of the quarters in 8 bits."""
    assert statistics_of([1.0] * 200 + [0.0] * 200).decay == pytest.approx(1.0)


def test_segments_of_another_size_or_with_other_numbers_are_refused():
    truth = square().astype(numpy.uint8)
    with pytest.raises(DataError, match="100 x 100, got 90 x 100"):
        frame_scores(truth[:, :90], truth=truth, num_objects=1)
    with pytest.raises(DataError, match="hold the number 2, the video's first frame has 1 objects"):
        frame_scores(2 * truth, truth=truth, num_objects=1)


masks = arrays(bool, st.tuples(st.shared(st.integers(1, 24), key="h"), st.shared(st.integers(1, 24), key="w")))


@given(found=masks, truth=masks, void=masks, radius=st.integers(0, 4))
def test_both_measures_are_those_of_the_formulas_written_down(found, truth, void, radius):
    union = sum(bool((f or t) and not v) for f, t, v in zip(found.flat, truth.flat, void.flat, strict=True))
    shared = sum(bool(f and t and not v) for f, t, v in zip(found.flat, truth.flat, void.flat, strict=True))
    assert region_similarity(found, truth=truth, void=void) == (shared / union if union else 1)
    expected = _naive_boundary(found & ~void, truth & ~void, radius=radius)
    assert boundary_measure(found, truth=truth, void=void, radius_px=radius) == pytest.approx(expected)


@given(values=st.lists(st.floats(0, 1), min_size=1, max_size=60))
def test_statistics_are_bounded_and_decay_is_none_where_nothing_changes(values):
    found = statistics_of(values)
    assert -1 <= found.decay <= 1
    assert math.isclose(found.recall, sum(value > 0.5 for value in values) / len(values))
    assert statistics_of([values[0]] * len(values)).decay == pytest.approx(0)


def _naive_boundary(found: numpy.ndarray, truth: numpy.ndarray, *, radius: int) -> float:
    """Pixel by pixel: XOR with the map moved by one, dilation by a disk, precision and recall."""
    here, there = _naive_edge(found), _naive_edge(truth)
    rows, columns = numpy.mgrid[-radius : radius + 1, -radius : radius + 1]
    disk = rows**2 + columns**2 <= radius**2
    if not here.any() or not there.any():
        return float(here.any() == there.any())
    precision = (here & ndimage.binary_dilation(there, disk)).sum() / here.sum()
    recall = (there & ndimage.binary_dilation(here, disk)).sum() / there.sum()
    return 0.0 if precision + recall == 0 else 2 * precision * recall / (precision + recall)


def _naive_edge(mask: numpy.ndarray) -> numpy.ndarray:
    height, width = mask.shape
    edge = numpy.zeros_like(mask)
    for row in range(height):
        for column in range(width):
            right = mask[row, column + 1] if column + 1 < width else None
            below = mask[row + 1, column] if row + 1 < height else None
            diagonal = mask[row + 1, column + 1] if right is not None and below is not None else None
            neighbours = [one for one in (right, below, diagonal) if one is not None]
            edge[row, column] = any(bool(mask[row, column]) != bool(one) for one in neighbours)
    return edge
