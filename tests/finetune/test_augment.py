"""Photos and labels move together; nothing but flip, scale and turn happens to them."""

from typing import Any

import numpy
import pytest
import torch

from mcdist.finetune.augment import IDENTITY, augmented, drawn_transform
from mcdist.finetune.settings import TuneSettings

SETTINGS = TuneSettings()


def moved(images, labels, transform):
    return augmented(images, labels=labels, transforms=torch.from_numpy(transform)[None].expand(len(images), 2, 3))


def blocks(num=2, size=32):
    """Labels in blocks of 8 pixels, some void, and images whose colours are the labels."""
    labels = torch.from_numpy(numpy.random.default_rng(0).choice([0, 1, 2, 7, 255], size=(num, size // 8, size // 8)).astype(numpy.uint8))
    labels = labels.repeat_interleave(8, 1).repeat_interleave(8, 2)
    return labels[:, None].expand(-1, 3, -1, -1).float(), labels


def test_the_identity_changes_nothing(device):
    images, labels = (tensor.to(device) for tensor in blocks())
    same_images, same_labels = augmented(images, labels=labels, transforms=torch.from_numpy(IDENTITY)[None].expand(2, 2, 3).to(device))
    torch.testing.assert_close(same_images, images, rtol=0, atol=1e-3)
    assert torch.equal(same_labels, labels)


def test_a_flip_is_a_flip():
    images, labels = blocks()
    flipped_images, flipped = moved(images, labels, IDENTITY * numpy.array([[-1], [1]], dtype=numpy.float32))
    assert torch.equal(flipped, labels.flip(2))
    torch.testing.assert_close(flipped_images, images.flip(3), rtol=0, atol=1e-3)


def test_labels_follow_the_photo_and_are_void_outside_of_it():
    images = torch.rand(1, 3, 64, 64) * 0.2
    labels = torch.zeros(1, 64, 64, dtype=torch.uint8)
    labels[:, 16:40, 8:36] = 3
    images += labels[:, None]
    for epoch in range(20):
        transform = drawn_transform(seed=0, epoch=epoch, index=5, height=300, width=500, settings=SETTINGS)
        image, shown = moved(images, labels, transform)
        clear = (image[:, 0] > 2.5) | ((image[:, 0] > 0.02) & (image[:, 0] < 0.3))
        inside = shown != 255
        share_outside = 1 - float(inside.float().mean())
        assert float(((image[:, 0] > 1.5) == (shown == 3))[clear & inside].float().mean()) > 0.99
        scale = 1 / numpy.sqrt(abs(numpy.linalg.det(transform[:, :2])))
        assert share_outside > 0.05 if scale < 0.95 else share_outside < 0.25


@pytest.mark.parametrize("size", [(300, 500), (500, 300), (400, 400)])
def test_a_turn_keeps_the_photos_own_proportions(size):
    height, width = size
    in_px = numpy.diag([width / 2, height / 2])
    scales, angles, flips = [], [], 0
    for index in range(300):
        drawn = drawn_transform(seed=1, epoch=2, index=index, height=height, width=width, settings=SETTINGS)
        to_source = in_px @ drawn[:, :2].astype(float) @ numpy.linalg.inv(in_px)
        scale = 1 / numpy.sqrt(abs(numpy.linalg.det(to_source)))
        numpy.testing.assert_allclose(to_source @ to_source.T * scale**2, numpy.eye(2), atol=1e-5)  # a turn or a mirrored one
        assert numpy.all(drawn[:, 2] == 0)
        scales.append(scale)
        flips += numpy.linalg.det(to_source) < 0
        angles.append(abs(numpy.degrees(numpy.arcsin(to_source[1, 0] * scale))))
    assert 0.75 <= min(scales) < 0.77 and 1.23 < max(scales) <= 1.25
    assert 4.8 < max(angles) <= 5.0001 and 110 < flips < 190


def test_draws_follow_seed_epoch_and_photo_alone():
    draw: dict[str, Any] = dict(seed=0, epoch=1, index=2, height=30, width=40, settings=SETTINGS)
    first = drawn_transform(**draw)
    assert numpy.array_equal(first, drawn_transform(**draw))
    for change in ({"seed": 1}, {"epoch": 2}, {"index": 3}):
        assert not numpy.array_equal(first, drawn_transform(**{**draw, **change}))
