"""The linear probe by gradient descent."""

from collections.abc import Iterator

import numpy
import pytest
import torch
from torch.nn.functional import cross_entropy, interpolate

from mcdist.evaluate.metrics.labels import VOID_CLASS
from mcdist.evaluate.probes.linear_probe import Schedule, batches_of, pixel_loss, train_linear
from mcdist.evaluate.probes.upsampled import pixel_classes

SGD = Schedule(optimizer="sgd", lr=0.5, num_epochs=12, batch=4, momentum=0.9, weight_decay=1e-4, drops=(9,))


def world(num: int = 12) -> tuple[torch.Tensor, torch.Tensor]:
    """Maps 4 x 4 whose two channels show the class, left to right, and labels 8 x 8."""
    generator = torch.Generator().manual_seed(0)
    classes = torch.randint(0, 3, (num, 4, 4), generator=generator)
    features = torch.nn.functional.one_hot(classes, 3).float() + 0.05 * torch.randn(num, 4, 4, 3, generator=generator)
    labels = classes.repeat_interleave(2, dim=1).repeat_interleave(2, dim=2).to(torch.uint8)
    labels[:, 0] = VOID_CLASS
    return features, labels


def trained(schedule: Schedule, *, seed: int = 0) -> list:
    features, labels = world()

    def batches(epoch: int) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        for photos in batches_of(len(features), batch=schedule.batch, epoch=epoch, seed=seed):
            yield features[photos], labels[photos]

    return list(train_linear(batches, num_dims=3, num_classes=3, schedule=schedule, seed=seed))


@pytest.mark.parametrize("schedule", [SGD, Schedule(optimizer="adam", lr=0.1, num_epochs=12, batch=4)])
def test_it_learns_what_is_linear(schedule: Schedule) -> None:
    features, labels = world()
    epochs = trained(schedule)
    assert len(epochs) == 12
    predicted = numpy.stack([pixel_classes(epochs[-1].logits(one.view(-1, 3)).view(4, 4, 3).numpy(), size_px=(8, 8)) for one in features])
    known = labels.numpy() != VOID_CLASS
    assert (predicted == labels.numpy())[known].mean() > 0.9


def test_the_same_seed_gives_the_same_classifier() -> None:
    one, again, other = trained(SGD)[-1], trained(SGD)[-1], trained(SGD, seed=1)[-1]
    assert torch.equal(one.weights, again.weights) and not torch.equal(one.weights, other.weights)


def test_a_step_is_torchs_own_convolution_and_optimiser() -> None:
    features, labels = world(4)
    schedule = Schedule(optimizer="sgd", lr=0.1, num_epochs=3, batch=4, momentum=0.9, weight_decay=0.01, drops=(2,))
    found = list(train_linear(lambda epoch: iter([(features, labels)]), num_dims=3, num_classes=3, schedule=schedule, seed=5))[-1]
    convolution = torch.nn.Conv2d(3, 3, 1)
    bias = convolution.bias
    assert bias is not None
    with torch.no_grad():
        convolution.weight.copy_((0.01 * torch.randn(3, 3, generator=torch.Generator().manual_seed(5))).T[:, :, None, None])
        bias.zero_()
    optimizer = torch.optim.SGD(convolution.parameters(), lr=0.1, momentum=0.9, weight_decay=0.01)
    scheduler = torch.optim.lr_scheduler.MultiStepLR(optimizer, [2])
    for _ in range(3):
        optimizer.zero_grad()
        logits = interpolate(convolution(features.permute(0, 3, 1, 2)), size=(8, 8), mode="bilinear")
        cross_entropy(logits, labels.long(), ignore_index=VOID_CLASS).backward()
        optimizer.step()
        scheduler.step()
    assert torch.allclose(found.weights, convolution.weight[:, :, 0, 0].T, atol=1e-5)
    assert torch.allclose(found.bias, bias, atol=1e-5)


def test_a_batch_of_void_changes_nothing_and_gives_no_nan() -> None:
    features = torch.ones(1, 2, 2, 3, requires_grad=True)
    loss = pixel_loss(features, labels=torch.full((1, 4, 4), VOID_CLASS, dtype=torch.uint8))
    loss.backward()
    assert float(loss.detach()) == 0 and features.grad is not None and not features.grad.any()


def test_an_epoch_has_every_photo_once_and_another_order_each_time() -> None:
    one, other = batches_of(10, batch=4, epoch=0, seed=0), batches_of(10, batch=4, epoch=1, seed=0)
    assert sorted(sum(one, [])) == list(range(10)) and [len(batch) for batch in one] == [4, 4, 2] and one != other
