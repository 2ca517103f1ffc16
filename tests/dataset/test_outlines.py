"""Outlines filled again by the programs that will fill them give the mask, pixel for pixel: holes, parts, diagonals, single pixels."""

import numpy
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from pycocotools import mask as coco_mask

from mcdist.dataset.outlines import joined, outlines_between, outlines_through

MASKS = arrays(bool, st.tuples(st.integers(1, 9), st.integers(1, 9))).filter(numpy.any)


def by_coco(polygons: list[numpy.ndarray], *, shape: tuple[int, int]) -> numpy.ndarray:
    encoded = coco_mask.frPyObjects([polygon.ravel().tolist() for polygon in polygons], *shape)
    return coco_mask.decode(coco_mask.merge(encoded)).astype(bool)


def by_opencv(polygon: numpy.ndarray, *, shape: tuple[int, int]) -> numpy.ndarray:
    cv2 = pytest.importorskip("cv2")
    canvas = numpy.zeros(shape, dtype=numpy.uint8)
    cv2.fillPoly(canvas, [polygon.astype(numpy.int32)], 1)
    return canvas.astype(bool)


def smooth(seed: int, *, height: int = 60, width: int = 80) -> numpy.ndarray:
    """Blobs as a network marks them, with holes and islands."""
    from scipy.ndimage import gaussian_filter

    return gaussian_filter(numpy.random.default_rng(seed).normal(size=(height, width)), 2.5) > 0.02


@given(mask=MASKS)
def test_coco_fills_outlines_between_pixels_as_the_mask(mask):
    assert (by_coco(outlines_between(mask), shape=mask.shape) == mask).all()


@given(mask=MASKS)
def test_opencv_fills_outlines_through_pixels_as_each_part_of_the_mask(mask):
    filled = [by_opencv(outline, shape=mask.shape) for outline in outlines_through(mask)]
    assert (numpy.any(filled, axis=0) == mask).all()
    assert numpy.sum(filled) == mask.sum(), "no two parts share a pixel"


@pytest.mark.parametrize("seed", range(4))
def test_large_blobs_with_holes_are_exact_too(seed):
    mask = smooth(seed)
    assert (by_coco(outlines_between(mask), shape=mask.shape) == mask).all()
    assert (numpy.any([by_opencv(outline, shape=mask.shape) for outline in outlines_through(mask)], axis=0) == mask).all()


def test_a_rectangle_has_its_corners_cut_and_nothing_else():
    """Corners on a straight line are left out: a polygon's size follows its shape, not its length."""
    mask = numpy.zeros((50, 50), dtype=bool)
    mask[10:40, 5:45] = True
    (outline,) = outlines_between(mask)
    assert len(outline) == 8
    assert outline.min(axis=0).tolist() == [5, 10] and outline.max(axis=0).tolist() == [45, 40]
    assert sorted(map(tuple, outlines_through(mask)[0])) == [(5, 10), (5, 39), (44, 10), (44, 39)]


def test_parts_joined_into_one_polygon_are_filled_as_the_parts_by_a_rule_of_centres():
    mask = numpy.zeros((20, 30), dtype=bool)
    mask[3:9, 4:10] = mask[12:18, 16:25] = True
    assert (by_coco([joined(outlines_between(mask))], shape=mask.shape) == mask).all()


def test_the_largest_part_comes_first():
    mask = numpy.zeros((20, 30), dtype=bool)
    mask[1:3, 1:3] = mask[5:15, 5:25] = True
    assert outlines_through(mask)[0].max() > 20
