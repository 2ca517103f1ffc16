"""Segmentations: the masks that pycocotools makes, and a sentence where it would make nonsense."""

from typing import Any

import numpy
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from pycocotools import mask as oracle

from mcdist.building.sources.coco.rle import check_box, decode_segmentation
from mcdist.errors import DataError, MissingExtraError

WHERE = "instances.json, annotation 7"


def decode(segmentation: Any, *, width: int = 20, height: int = 10) -> numpy.ndarray:
    return decode_segmentation(segmentation, width=width, height=height, where=WHERE)


@settings(max_examples=80)
@given(arrays(bool, array_shapes(min_dims=2, max_dims=2, max_side=40)))
def test_run_lengths_as_text_and_as_a_list_give_the_mask(mask: numpy.ndarray) -> None:
    height, width = mask.shape
    encoded = oracle.encode(numpy.asfortranarray(mask.astype(numpy.uint8)))
    text = {"size": [height, width], "counts": encoded["counts"].decode()}
    changes = numpy.flatnonzero(numpy.diff(mask.ravel(order="F").astype(int), prepend=0))
    counts = numpy.diff([0, *changes, mask.size]).tolist()
    assert (decode(text, width=width, height=height) == mask).all()
    assert (decode({"size": [height, width], "counts": counts}, width=width, height=height) == mask).all()


@settings(max_examples=60)
@given(st.lists(st.lists(st.tuples(st.floats(0, 20), st.floats(0, 10)), min_size=3, max_size=6), min_size=1, max_size=3))
def test_polygons_give_the_union_that_pycocotools_gives(outlines: list[list[tuple[float, float]]]) -> None:
    polygons = [[number for point in outline for number in point] for outline in outlines]
    wanted = oracle.decode(oracle.frPyObjects(polygons, 10, 20)).any(axis=2)
    assert (decode(polygons) == wanted).all()


def test_a_rectangle_covers_its_pixels() -> None:
    assert decode([[2, 3, 8, 3, 8, 7, 2, 7]])[3:7, 2:8].all() and decode([[2, 3, 8, 3, 8, 7, 2, 7]]).sum() == 24


@pytest.mark.parametrize(
    ("segmentation", "why"),
    [
        (None, "neither polygons nor run lengths"),
        ({"size": [10, 20]}, "neither polygons nor run lengths"),
        ([], "empty list"),
        ([[1, 2, 3, 4]], "three points or more"),
        ([[1, 2, 3, 4, 5, 6, 7]], "three points or more"),
        ([["a", 2, 3, 4, 5, 6]], "no finite number"),
        ([[float("nan"), 2, 3, 4, 5, 6]], "no finite number"),
        ([[-5, 2, 8, 2, 8, 8]], "a polygon's x runs from -5 to 8 px, its photo from 0 to 20"),
        ([[1, 2, 8, 2, 8, 12]], "a polygon's y runs from 2 to 12 px, its photo from 0 to 10"),
        ([[1, 2, 1e12, 2, 8, 8]], "runs from 1 to 1e\\+12 px"),
        ({"size": [20, 10], "counts": [200]}, r"of size \[20, 10\], the photo is \[10, 20\]"),
        ({"size": [10, 20], "counts": [100]}, "do not add up to the photo's 200 pixels"),
        ({"size": [10, 20], "counts": [100, -50, 150]}, "do not add up"),
        ({"size": [10, 20], "counts": [2**70]}, "do not add up"),
        ({"size": [10, 20], "counts": [100.0, 100]}, "do not add up"),
        ({"size": [10, 20], "counts": "52"}, "do not add up"),
        ({"size": [10, 20], "counts": ""}, "cut or empty"),
        ({"size": [10, 20], "counts": 7}, "cut or empty"),
        ({"size": [10, 20], "counts": "P"}, "cut or empty"),
        ({"size": [10, 20], "counts": "!!"}, "text holds '!'"),
    ],
)
def test_an_unsound_segmentation_names_its_annotation(segmentation: Any, why: str) -> None:
    with pytest.raises(DataError, match=f"instances.json, annotation 7: .*{why}"):
        decode(segmentation)


@settings(max_examples=200)
@given(st.text(st.characters(min_codepoint=40, max_codepoint=120), max_size=12))
def test_any_text_of_run_lengths_is_a_mask_or_an_error(text: str) -> None:
    try:
        found = decode({"size": [10, 20], "counts": text})
    except DataError as error:
        assert "instances.json, annotation 7: " in str(error)
        return
    assert found.shape == (10, 20) and set(numpy.unique(found)) <= {0, 1}


@pytest.mark.parametrize(
    ("box", "why"),
    [([1, 2, 3], "four numbers"), ("x", "four numbers"), ([1, 2, -3, 4], "negative width"), ([-3, 0, 5, 5], "from -3"), ([18, 0, 5, 5], "to 23 px")],
)
def test_an_unsound_box_names_its_annotation(box: Any, why: str) -> None:
    with pytest.raises(DataError, match=f"annotation 7: .*{why}"):
        check_box(box, width=20, height=10, where=WHERE)


def test_no_box_and_one_that_rounding_put_outside_are_sound() -> None:
    check_box(None, width=20, height=10, where=WHERE)
    check_box([0, -0.3, 20.5, 10.4], width=20, height=10, where=WHERE)


def test_without_pycocotools_the_line_that_installs_it_is_given(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "pycocotools", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'mcdist\[coco\]'"):
        decode([[2, 3, 8, 3, 8, 7]])
