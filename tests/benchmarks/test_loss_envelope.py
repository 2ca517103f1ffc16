"""The envelope around the reference's curves: what lies in it and what does not."""

import importlib
from types import ModuleType

import numpy
import pytest


@pytest.fixture
def loss_envelope() -> ModuleType:
    return importlib.import_module("benchmarks.loss.envelope")


def test_a_curve_beside_the_reference_is_outside(loss_envelope: ModuleType) -> None:
    random = numpy.random.default_rng(0)
    reference = 5 - numpy.linspace(0, 1, 60) + 0.001 * random.standard_normal((3, 60))
    assert loss_envelope.envelope_of(reference, reference.mean(0)).distance.max() < 1
    assert loss_envelope.envelope_of(reference, reference.mean(0) + 0.05).distance.max() > 1


def test_each_reference_run_is_held_against_the_others(loss_envelope: ModuleType) -> None:
    reference = 5 - numpy.linspace(0, 1, 60) + 0.001 * numpy.random.default_rng(0).standard_normal((4, 60))
    reference[2] += 0.05
    shares = loss_envelope.left_out(reference)
    assert len(shares) == 4 and max(shares) == shares[2] > 10 and all(share < 1 for share in shares[:2] + shares[3:])
