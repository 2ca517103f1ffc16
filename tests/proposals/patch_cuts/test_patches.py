import numpy
import torch

from mcdist.proposals.patch_cuts.patches import instance_map, is_background_side, part_with, to_pixels


def test_the_part_with_the_seed_is_four_connected():
    mask = torch.tensor([[1, 1, 0], [0, 0, 1], [0, 0, 1]], dtype=torch.bool)
    assert torch.equal(part_with(mask, seed=(0, 1)), torch.tensor([[1, 1, 0], [0, 0, 0], [0, 0, 0]], dtype=torch.bool))
    assert not bool(part_with(mask, seed=(2, 0)).any())


def test_a_side_with_three_corners_is_background():
    mask = torch.zeros(4, 4, dtype=torch.bool)
    mask[0, 0] = mask[0, 3] = True
    assert not is_background_side(mask)
    mask[3, 0] = True
    assert is_background_side(mask)


def test_a_patch_mask_becomes_pixels_at_half_height_of_the_slope():
    mask = torch.zeros(1, 2, 4, dtype=torch.bool)
    mask[0, :, 2:] = True
    pixels = to_pixels(mask, height=16, width=32)
    assert pixels.shape == (1, 16, 32)
    assert pixels[0, :, 16:].all() and not pixels[0, :, :16].any()


def test_the_first_mask_of_a_pixel_wins():
    masks = numpy.zeros((2, 2, 3), dtype=bool)
    masks[0, :, :2] = True
    masks[1, :, 1:] = True
    assert instance_map(masks, height=2, width=3).tolist() == [[1, 1, 2], [1, 1, 2]]
    assert instance_map(masks[:0], height=2, width=3).dtype == numpy.int16
