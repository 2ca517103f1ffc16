"""Run lengths are written as pycocotools writes them, and read back."""

import numpy
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from mcdist.data.pictures.coco_runs import mask_of_runs, runs_of, runs_of_mask, text_of_runs

MASKS = arrays(bool, array_shapes(min_dims=2, max_dims=2, min_side=1, max_side=24))


@given(MASKS)
def test_a_mask_comes_back(mask: numpy.ndarray) -> None:
    runs = runs_of_mask(mask)
    text = text_of_runs(runs)
    assert runs_of(text, where="here") == runs.tolist()
    assert numpy.array_equal(mask_of_runs(runs_of(text, where="here"), width=mask.shape[1], height=mask.shape[0], where="here"), mask)


@given(MASKS)
def test_the_text_is_that_of_pycocotools(mask: numpy.ndarray) -> None:
    coco = pytest.importorskip("pycocotools.mask")
    assert text_of_runs(runs_of_mask(mask)) == coco.encode(numpy.asfortranarray(mask.astype(numpy.uint8)))["counts"].decode()


@given(st.integers(0, 3), st.integers(0, 2**20))
def test_long_runs_are_those_of_pycocotools_too(first: int, length: int) -> None:
    coco = pytest.importorskip("pycocotools.mask")
    mask = numpy.zeros((1 << 11, 1 << 10), dtype=numpy.uint8, order="F")
    flat = mask.reshape(-1, order="F")
    flat[first : first + length] = 1
    mask = flat.reshape(mask.shape, order="F")
    assert text_of_runs(runs_of_mask(mask.astype(bool))) == coco.encode(numpy.asfortranarray(mask))["counts"].decode()
