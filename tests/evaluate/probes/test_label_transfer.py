"""Label transfer against loops."""

from collections import Counter

import numpy
import pytest
import torch

from mcdist.evaluate.metrics.labels import VOID_CLASS
from mcdist.evaluate.probes.label_transfer import pixel_mode, rare_first, soft_vote


def test_patches_of_rare_classes_are_kept_first() -> None:
    presence = numpy.zeros((100, 3), dtype=bool)
    presence[:, 0] = True
    presence[:5] = [False, True, False]
    presence[99] = False
    kept = rare_first(presence, num=10, random=numpy.random.default_rng(0))
    assert set(range(5)) <= set(kept.tolist()) and len(kept) == 10
    everything = rare_first(presence, num=1000, random=numpy.random.default_rng(0))
    assert sorted(everything.tolist()) == list(range(99)), "a patch without a class is never kept"


def test_the_score_is_the_sum_over_classes_of_their_patches_times_chance() -> None:
    random = numpy.random.default_rng(3)
    presence = random.random((40, 4)) < 0.4
    drawn = numpy.random.default_rng(7).random(40)
    scores = [sum(int(presence[:, c].sum()) for c in range(4) if presence[p, c]) * drawn[p] for p in range(40)]
    expected = sorted((p for p in range(40) if presence[p].any()), key=lambda p: scores[p])[:12]
    assert rare_first(presence, num=12, random=numpy.random.default_rng(7)).tolist() == expected


def test_the_vote_is_softmax_over_the_neighbours() -> None:
    random = numpy.random.default_rng(0)
    cosines, labels = random.uniform(-1, 1, (5, 3)).astype(numpy.float32), random.random((5, 3, 4)).astype(numpy.float32)
    weights = torch.softmax(torch.from_numpy(cosines).double() / 0.02, dim=1)[..., None]
    expected = (weights * torch.from_numpy(labels)).sum(1).numpy()
    assert numpy.allclose(soft_vote(cosines, labels=labels, temperature=0.02), expected, atol=1e-5)


@pytest.mark.parametrize("with_void", [False, True])
def test_the_mode_is_that_of_a_counter_and_the_smallest_of_equals(with_void: bool) -> None:
    random = numpy.random.default_rng(1)
    labels = random.choice(numpy.array([0, 1, 2, 200, VOID_CLASS], dtype=numpy.uint8), size=(6, 7, 9))
    labels[0, :, 0] = VOID_CLASS

    def naive(values: numpy.ndarray) -> int:
        counted = Counter(int(value) for value in values if with_void or value != VOID_CLASS)
        return min((value for value in counted if counted[value] == max(counted.values())), default=VOID_CLASS)

    expected = [[naive(labels[query, :, pixel]) for pixel in range(9)] for query in range(6)]
    assert pixel_mode(labels, with_void=with_void).tolist() == expected
    if with_void:
        assert torch.from_numpy(labels).mode(dim=1).values.tolist() == expected
