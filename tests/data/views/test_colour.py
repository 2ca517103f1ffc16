import random

import pytest
import torch
from torchvision.transforms.v2 import functional

from mcdist.data.views.colour import change_colours
from mcdist.data.views.draw import Colour
from mcdist.ops.tolerance import Tolerance

TOLERANCE = Tolerance(atol=1e-5, rtol=0)
ORACLE = {
    "brightness": functional.adjust_brightness,
    "contrast": functional.adjust_contrast,
    "saturation": functional.adjust_saturation,
    "hue": functional.adjust_hue,
    "grey": lambda image, _: functional.rgb_to_grayscale(image, num_output_channels=3),
}


def images_with_ties(count: int = 1) -> torch.Tensor:
    """Noise, with equal channels and grey pixels in it."""
    images = torch.rand(count, 3, 30, 31, generator=torch.Generator().manual_seed(0))
    images[:, :, :10] = (images[:, :, :10] * 3).round() / 3
    images[:, :, 10] = images[:, :1, 10]
    return images


def by_torchvision(image: torch.Tensor, colour: Colour) -> torch.Tensor:
    for name, amount in colour.operations:
        image = ORACLE[name](image, amount)
    return image


def random_colour(generator: random.Random) -> Colour:
    jitter = [("brightness", generator.uniform(0.4, 1.6)), ("contrast", generator.uniform(0.4, 1.6)), ("saturation", generator.uniform(0.0, 2.0))]
    jitter.append(("hue", generator.uniform(-0.5, 0.5)))
    generator.shuffle(jitter)
    return Colour(tuple(jitter[: generator.randint(0, 4)]), grey=generator.random() < 0.3)


@pytest.mark.parametrize("amount", [-0.5, -0.07, 0.0, 0.1, 0.5])
def test_shifting_the_hue_gives_what_torchvision_gives(device, amount):
    images = images_with_ties().to(device)
    changed = change_colours(images.clone(), colours=[Colour((("hue", amount),), grey=False)])
    torch.testing.assert_close(changed, functional.adjust_hue(images, amount), **TOLERANCE)


@pytest.mark.parametrize("count", [1, 2, 33])
def test_each_image_gets_its_own_changes_in_its_own_order_as_torchvision_makes_them_one_by_one(device, count):
    generator = random.Random(count)
    images, colours = images_with_ties(count).to(device), [random_colour(generator) for _ in range(count)]
    changed = change_colours(images.clone(), colours=colours)
    wanted = torch.stack([by_torchvision(image, colour) for image, colour in zip(images, colours, strict=True)])
    torch.testing.assert_close(changed, wanted, **TOLERANCE)


def test_the_other_images_of_a_batch_change_nothing_of_an_image():
    generator = random.Random(0)
    images, colours = images_with_ties(9), [random_colour(generator) for _ in range(9)]
    together = change_colours(images.clone(), colours=colours)
    alone = torch.cat([change_colours(image[None].clone(), colours=[colour]) for image, colour in zip(images, colours, strict=True)])
    torch.testing.assert_close(together, alone, atol=1e-6, rtol=0)


def test_an_image_without_changes_stays_as_it_is():
    images = images_with_ties(2)
    assert torch.equal(change_colours(images.clone(), colours=[Colour((), grey=False)] * 2), images)


@pytest.mark.parametrize("sigma_px", [0.1, 0.7, 2.0])
def test_a_blur_gives_what_torchvision_gives(device, sigma_px):
    images = images_with_ties(3).to(device)
    colours = [Colour((), grey=False), Colour((), grey=False, blur_sigma_px=sigma_px), Colour((), grey=True, blur_sigma_px=1.0)]
    changed = change_colours(images.clone(), colours=colours)
    assert torch.equal(changed[0], images[0])
    torch.testing.assert_close(changed[1], functional.gaussian_blur(images[1], [3, 3], [sigma_px, sigma_px]), **TOLERANCE)
    grey = functional.rgb_to_grayscale(images[2], num_output_channels=3)
    torch.testing.assert_close(changed[2], functional.gaussian_blur(grey, [3, 3], [1.0, 1.0]), **TOLERANCE)


def test_as_many_changes_as_images_are_wanted():
    with pytest.raises(ValueError, match="2 images need as many colour changes, got 1"):
        change_colours(images_with_ties(2), colours=[Colour((), grey=False)])
