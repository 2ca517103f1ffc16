"""Pixels by pair of numbers: the compiled counts are those of numpy, and those of a plain loop."""

from collections import Counter

import numpy
import pytest

from mcdist.ops.joint_counts import op
from mcdist.ops.joint_counts.op import JointCounts, joint_counts

SHAPES = ((1, 1), (7, 9), (40, 33))


@pytest.fixture(params=["compiled", "numpy"])
def implementation(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if request.param == "numpy":
        monkeypatch.setattr(op, "reason_missing", lambda: "no compiler")


def maps(kind: str, *, shape: tuple[int, int], rows: numpy.typing.DTypeLike, columns: numpy.typing.DTypeLike) -> tuple[numpy.ndarray, numpy.ndarray]:
    random = numpy.random.default_rng(3)
    size = (5, 6) if kind == "flat" else shape
    predicted, truth = random.integers(0, 12, size=size), random.choice([0, 1, 2, 255], size=size)
    if kind == "flat":
        predicted, truth = (numpy.kron(one, numpy.ones((9, 11), dtype=numpy.int64))[: shape[0], : shape[1]] for one in (predicted, truth))
    return predicted.astype(rows), truth.astype(columns)


@pytest.mark.parametrize("kind", ["flat", "noise"])
@pytest.mark.parametrize("rows", ["uint8", "int16", "uint16", "int32", "int64"])
@pytest.mark.parametrize("columns", ["uint8", "int64"])
@pytest.mark.usefixtures("implementation")
def test_counts_are_those_of_a_loop_over_all_pixels(kind: str, rows: str, columns: str) -> None:
    for shape in SHAPES:
        predicted, truth = maps(kind, shape=shape, rows=rows, columns=columns)
        expected = Counter(pair for pair in zip(predicted.ravel().tolist(), truth.ravel().tolist(), strict=True) if pair[1] != 255)
        found = joint_counts(predicted, truth, num_rows=12, num_columns=3, skipped=255)
        assert {(int(r), int(c)): int(found.counts[r, c]) for r, c in numpy.argwhere(found.counts)} == expected
        assert (found.stray_row, found.stray_column) == (None, None)


@pytest.mark.usefixtures("implementation")
def test_strays_are_named_unless_their_pixel_does_not_count() -> None:
    truth = numpy.array([0, 255, 1, 2] * 5, dtype=numpy.uint8)
    rows = numpy.array([0, 77, 1, 1] * 5)

    def found(predicted: numpy.ndarray, *, num_columns: int = 3) -> JointCounts:
        return joint_counts(predicted, truth, num_rows=2, num_columns=num_columns, skipped=255)

    assert found(rows).stray_row is None
    assert found(numpy.where(rows == 1, -4, rows)).stray_row == -4
    assert found(numpy.where(rows == 1, 9, rows)).stray_row == 9
    assert found(rows, num_columns=2).stray_column == 2


@pytest.mark.usefixtures("implementation")
def test_views_and_mapped_maps_are_counted_as_they_are() -> None:
    whole = numpy.arange(48, dtype=numpy.uint8).reshape(6, 8) % 3
    view, truth = whole[::2, ::-1], numpy.zeros((3, 8), dtype=numpy.uint8)
    truth.flags.writeable = False
    counts = joint_counts(view, truth, num_rows=3, num_columns=1, skipped=255).counts
    assert counts.ravel().tolist() == numpy.bincount(view.ravel(), minlength=3).tolist()
    assert joint_counts(view[:0], truth[:0], num_rows=3, num_columns=1, skipped=255).counts.sum() == 0


def test_a_large_table_and_a_table_of_copies_hold_the_same() -> None:
    random = numpy.random.default_rng(1)
    predicted, truth = random.integers(0, 2, size=4000).astype(numpy.uint16), random.integers(0, 2, size=4000).astype(numpy.uint8)
    small, large = (joint_counts(predicted, truth, num_rows=rows, num_columns=170, skipped=255).counts for rows in (2, 500))
    assert (large[:2] == small).all() and large.sum() == small.sum() == 4000
