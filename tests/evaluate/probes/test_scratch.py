"""Vectors on disk."""

import numpy
import pytest

from mcdist.evaluate.probes import scratch as scratch_module
from mcdist.evaluate.probes.scratch import Scratch


@pytest.mark.parametrize("at_once", [1, 30, 2**20])
def test_what_was_appended_is_read_as_often_as_it_takes(at_once: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scratch_module, "BLOCK_VALUES", at_once)
    vectors = numpy.random.default_rng(0).normal(size=(23, 5)).astype(numpy.float32)
    with Scratch(5) as scratch:
        for piece in numpy.split(vectors, [4, 4, 20]):
            scratch.append(piece)
        for _ in range(2):
            assert numpy.array_equal(numpy.concatenate(list(scratch.blocks())), vectors)
        assert [len(block) for block in scratch.blocks(size=10)] == [10, 10, 3]
        scratch.append(vectors[:1])
        assert scratch.num_rows == 24 and numpy.array_equal(numpy.concatenate(list(scratch.blocks()))[-1], vectors[0])
