"""Extents: areas, boxes and cores of all objects at once are those that a mask alone would give."""

import numpy

from mcdist.zoom.extents import extents_of


def test_areas_and_boxes_are_those_of_each_mask_alone() -> None:
    objects = numpy.random.default_rng(0).integers(-1, 9, (30, 47)).astype(numpy.int16)
    objects[objects == 4] = 0
    found = extents_of(objects)
    assert found.number.tolist() == [1, 2, 3, 5, 6, 7, 8]
    for number, area_px, box in zip(found.number, found.area_px, found.box, strict=True):
        rows, columns = numpy.nonzero(objects == number)
        assert area_px == len(rows)
        assert box.tolist() == [rows.min() / 30, columns.min() / 47, (rows.max() + 1) / 30, (columns.max() + 1) / 47]


def test_a_few_stray_pixels_do_not_widen_the_core() -> None:
    objects = numpy.zeros((100, 100), dtype=numpy.int16)
    objects[20:50, 30:60] = 1
    objects[90, 95] = objects[2, 1] = 1
    found = extents_of(objects)
    assert found.core.tolist() == [[20, 30, 50, 60]]
    assert found.box.tolist() == [[0.02, 0.01, 0.91, 0.96]]


def test_one_pixel_is_an_object_and_no_pixel_is_none() -> None:
    objects = numpy.full((5, 7), -1, dtype=numpy.int16)
    assert len(extents_of(objects).number) == 0
    objects[3, 6] = 2
    found = extents_of(objects)
    assert (found.number.tolist(), found.area_px.tolist(), found.core.tolist()) == ([2], [1], [[3, 6, 4, 7]])
