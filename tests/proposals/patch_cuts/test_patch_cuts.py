"""LOST, TokenCut, MaskCut, deep spectral and FOUND-style on made feature maps."""

import pytest
import torch

from mcdist.proposals.patch_cuts.deep_spectral import colour_affinity, spectral_masks
from mcdist.proposals.patch_cuts.found import found_masks
from mcdist.proposals.patch_cuts.lost import lost_masks
from mcdist.proposals.patch_cuts.tokencut import tokencut_masks
from tests.proposals.patch_cuts.patch_scenes import block_mask, scene

OBJECT = (3, 8, 5, 11)
SMALL = (1, 4, 12, 15)
ALL = {"lost": lost_masks, "tokencut": tokencut_masks, "deep_spectral": spectral_masks, "found": found_masks}
SEVERAL = {"lost": lost_masks, "tokencut": tokencut_masks, "deep_spectral": spectral_masks}


@pytest.mark.parametrize("method", ALL.values(), ids=ALL.keys())
def test_one_object_is_found_exactly(method):
    assert torch.equal(method(scene(OBJECT))[0, 0], block_mask(OBJECT))


@pytest.mark.parametrize("method", ALL.values(), ids=ALL.keys())
def test_photos_of_a_batch_do_not_see_each_other(method):
    scenes = [scene(OBJECT), scene(SMALL, seed=1), scene((6, 11, 2, 6), seed=2)]
    together = method(torch.cat(scenes))
    for b, features in enumerate(scenes):
        assert torch.equal(together[b], method(features)[0])


@pytest.mark.parametrize("method", ALL.values(), ids=ALL.keys())
def test_features_that_are_all_equal_give_an_answer_and_no_error(method):
    assert method(torch.ones(1, 8, 12, 16)).shape == (1, 1, 12, 16)
    assert method(torch.zeros(1, 8, 12, 16)).shape == (1, 1, 12, 16)


@pytest.mark.parametrize("method", ALL.values(), ids=ALL.keys())
def test_a_grid_of_two_by_two_patches_is_no_error(method):
    assert method(scene(height=2, width=2)).shape == (1, 1, 2, 2)


@pytest.mark.parametrize("method", SEVERAL.values(), ids=SEVERAL.keys())
def test_two_objects_come_as_two_masks_that_do_not_overlap(method):
    masks = method(scene(OBJECT, SMALL), max_objects=2)[0]
    assert not bool((masks[0] & masks[1]).any())
    assert {tuple(mask.flatten().tolist()) for mask in masks} == {tuple(block_mask(block).flatten().tolist()) for block in (OBJECT, SMALL)}


def test_lost_seeds_in_the_smallest_object():
    assert torch.equal(lost_masks(scene(OBJECT, SMALL))[0, 0], block_mask(SMALL))


def test_an_object_larger_than_the_background_is_still_the_object():
    large = (1, 11, 2, 14)
    assert torch.equal(tokencut_masks(scene(large))[0, 0], block_mask(large))
    assert torch.equal(spectral_masks(scene(large))[0, 0], block_mask(large))


def test_maskcut_asked_for_more_objects_than_there_are_leaves_small_ones_out():
    masks = tokencut_masks(scene(OBJECT), max_objects=3)[0]
    assert torch.equal(masks[0], block_mask(OBJECT))


def test_found_takes_the_least_attended_patch_for_background():
    features = scene(OBJECT)
    attention = block_mask(OBJECT)[None].float()
    assert torch.equal(found_masks(features, attention_Bhw=attention)[0, 0], block_mask(OBJECT))
    assert torch.equal(found_masks(features, attention_Bhw=1 - attention)[0, 0], ~block_mask(OBJECT))


def test_colours_bind_patches_that_features_do_not():
    """Features say nothing; the patches' colours hold the object."""
    colours = torch.where(block_mask(OBJECT), 1.0, 0.0).expand(1, 3, 12, 16)
    masks = spectral_masks(torch.ones(1, 8, 12, 16), colours_B3hw=colours, colour_weight=10.0)
    assert torch.equal(masks[0, 0], block_mask(OBJECT))


def test_colour_affinity_is_symmetric_and_prefers_the_like():
    colours = torch.where(block_mask(OBJECT), 1.0, 0.0).expand(1, 3, 12, 16)
    weights = colour_affinity(colours)[0]
    assert torch.equal(weights, weights.mT)
    inside = block_mask(OBJECT).flatten()
    assert float(weights[inside][:, inside].sum()) > 10 * float(weights[inside][:, ~inside].sum())


def test_a_colour_weight_without_colours_is_refused():
    with pytest.raises(ValueError, match="colour_weight needs colours_B3hw"):
        spectral_masks(scene(OBJECT), colour_weight=1.0)
