import random
from dataclasses import replace

import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode

from mcdist.data import finish as finish_module
from mcdist.data.batch import Batch
from mcdist.data.finish import finish, finish_images
from mcdist.data.views.colour import change_colours
from mcdist.data.views.draw import Colour
from mcdist.data.views.normalise import normalise
from mcdist.types import IMAGENET_MEAN, IMAGENET_STD

PIXELS = {"mean": IMAGENET_MEAN, "std": IMAGENET_STD}


def batch_of(count: int, *, device: torch.device) -> Batch:
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (2, count, 16, 16, 3), dtype=torch.uint8, generator=generator).permute(0, 1, 4, 2, 3).to(device)
    instances = torch.zeros(count, 16, 16, dtype=torch.int16, device=device)
    plain, grey = Colour((), grey=False), Colour((("contrast", 0.5),), grey=True)
    return Batch(images[0], images[1], instances, instances, torch.arange(count, device=device), 0, 0, 0, (plain,) * count, (grey,) * count)


def test_a_finished_batch_is_float_normalised_and_has_its_colours(device):
    batch = batch_of(3, device=device)
    finished = finish(batch, **PIXELS)
    torch.testing.assert_close(finished.query_images, normalise(batch.query_images, **PIXELS), atol=1e-5, rtol=0)
    assert finished.key_images.device.type == device.type
    mean, std = -normalise(torch.zeros(3, 1, 1, dtype=torch.uint8), **PIXELS), normalise(torch.full((3, 1, 1), 255, dtype=torch.uint8), **PIXELS)
    shares = (finished.key_images.cpu() + mean) / (std + mean)
    torch.testing.assert_close(shares[:, 0], shares[:, 1], atol=1e-5, rtol=0)
    assert (finished.query_colours, finished.key_colours) == ((), ())
    assert finished.query_images.is_contiguous(memory_format=torch.channels_last)


def test_a_finished_batch_is_left_alone(device):
    finished = finish(batch_of(2, device=device), **PIXELS)
    assert finish(finished, **PIXELS) is finished


def test_finishing_leaves_the_loaders_pixels_alone(device):
    batch = batch_of(2, device=device)
    before = batch.key_images.clone()
    finish(batch, **PIXELS)
    assert torch.equal(batch.key_images, before)


@pytest.mark.parametrize("piece", [1, 3, 8])
def test_images_at_a_time_change_no_values(monkeypatch, piece):
    generator = random.Random(0)
    images = batch_of(7, device=torch.device("cpu")).query_images
    jitter = [("hue", 0.2), ("brightness", 0.7), ("saturation", 1.4)]
    colours = [Colour(tuple(generator.sample(jitter, 3)), grey=number % 3 == 0) for number in range(7)]
    monkeypatch.setattr(finish_module, "CPU_PIECE", piece)
    wanted = torch.cat([change_colours(image[None] / 255, colours=[colour]) for image, colour in zip(images, colours, strict=True)])
    got = finish_images(images, colours=colours, **PIXELS)
    mean, std = torch.tensor([0.485, 0.456, 0.406])[:, None, None], torch.tensor([0.229, 0.224, 0.225])[:, None, None]
    torch.testing.assert_close(got, (wanted - mean) / std, atol=1e-5, rtol=0)


def test_colours_that_do_not_match_the_images_are_refused(device):
    with pytest.raises(ValueError, match="need as many colour changes"):
        finish(replace(batch_of(2, device=device), query_colours=()), **PIXELS)


def test_finishing_asks_the_device_for_no_value():
    with FakeTensorMode():  # a CUDA device without one: reading a value from it raises
        batch = batch_of(5, device=torch.device("cuda"))
        finished = finish(replace(batch, query_colours=tuple(Colour((("hue", 0.1 * i),), grey=i > 2, blur_sigma_px=i / 2) for i in range(5))), **PIXELS)
        assert finished.query_images.device.type == "cuda"
        assert finished.query_images.dtype == torch.float32
