"""Refinement moves an object's edge to the photo's, keeps what is right, and every object."""

import numpy
import pytest
from scipy import ndimage

from mcdist.errors import ConfigError
from mcdist.proposals.proposal import Proposal
from mcdist.proposals.refinement.refine import REFINEMENTS, make_refiner
from tests.proposals.proposal_pictures import disc, iou

REFINERS = [name for name in REFINEMENTS if name != "none"]


@pytest.mark.parametrize("name", REFINERS)
@pytest.mark.parametrize("grow_px", [-3, 3])
def test_an_edge_beside_the_photos_edge_is_drawn_to_it(name, grow_px):
    photo, truth = disc(width=200, height=150, radius=40)
    change = ndimage.binary_dilation if grow_px > 0 else ndimage.binary_erosion
    rough = change(truth, iterations=abs(grow_px))
    refined = make_refiner(name)(photo, Proposal(rough.astype(numpy.int16)))
    assert iou(refined.instances > 0, truth) > iou(rough, truth) + 0.03


@pytest.mark.parametrize("name", REFINERS)
def test_objects_keep_their_numbers_and_void_stays(name):
    photo, truth = disc(width=200, height=100, radius=24)
    photo[:, 100:], truth[:, 100:] = photo[:, :100], truth[:, :100]
    instances = truth.astype(numpy.int16)
    instances[:, 100:] *= 2
    instances[0] = -1
    refined = make_refiner(name)(photo, Proposal(instances)).instances
    assert (refined[0] == -1).all()
    for number in numpy.unique(instances[instances > 0]):
        assert iou(refined == number, instances == number) > 0.9


@pytest.mark.parametrize("name", REFINERS)
def test_nothing_stays_nothing_and_a_photo_of_any_shape_is_taken(name):
    refine = make_refiner(name)
    photo, _ = disc()
    assert not refine(photo, Proposal(numpy.zeros(photo.shape[:2], dtype=numpy.int16))).instances.any()
    for shape in ((16, 300), (40, 17)):
        instances = numpy.zeros(shape, dtype=numpy.int16)
        instances[4:12, 4:12] = 1
        assert refine(numpy.zeros((*shape, 3), dtype=numpy.uint8), Proposal(instances)).instances.shape == shape


def test_a_refinement_that_is_none_is_one_sentence():
    with pytest.raises(ConfigError, match="--refine must be one of none, guided, crf, got 'grabcut'"):
        make_refiner("grabcut")
