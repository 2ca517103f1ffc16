"""Linear probe: a 1 x 1 convolution on feature maps, trained by gradient descent on the pixels of labelled photos."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Literal

import numpy
import torch
from jaxtyping import Float32, UInt8
from torch import Tensor
from torch.nn.functional import cross_entropy, interpolate

from mcdist.evaluate.metrics.labels import VOID_CLASS
from mcdist.evaluate.probes.logistic import LinearClassifier

Batch = tuple[Float32[Tensor, "B h w D"], UInt8[Tensor, "B H W"]]
"""Feature maps, and the class of every pixel at the size where the loss is computed."""

INITIAL_STD = 0.01


@dataclass(frozen=True, slots=True, kw_only=True)
class Schedule:
    """`drops`: epochs after which the learning rate is multiplied by `drop`. Momentum and weight decay are SGD's."""

    optimizer: Literal["sgd", "adam"]
    lr: float
    num_epochs: int
    batch: int
    momentum: float = 0.0
    weight_decay: float = 0.0
    drops: tuple[int, ...] = field(default=())
    drop: float = 0.1

    def make(self, parameters: list[Tensor]) -> torch.optim.Optimizer:
        """The optimiser at the first epoch."""
        if self.optimizer == "adam":
            return torch.optim.Adam(parameters, lr=self.lr)
        return torch.optim.SGD(parameters, lr=self.lr, momentum=self.momentum, weight_decay=self.weight_decay)

    def lr_of(self, epoch: int) -> float:
        """The learning rate of an epoch, counted from 0."""
        return self.lr * self.drop ** sum(epoch >= drop for drop in self.drops)


def batches_of(num_photos: int, *, batch: int, epoch: int, seed: int) -> list[list[int]]:
    """The photos of each batch of an epoch, in an order of its own; the last batch may be smaller."""
    order = numpy.random.default_rng([seed, epoch]).permutation(num_photos)
    return [sorted(order[start : start + batch].tolist()) for start in range(0, num_photos, batch)]


def pixel_loss(logits: Float32[Tensor, "B h w C"], *, labels: UInt8[Tensor, "B H W"]) -> Float32[Tensor, ""]:
    """Mean cross-entropy over the pixels that are not void, of logits upsampled bilinearly to H x W; 0 where all are void."""
    targets = labels.long()
    if not bool((targets != VOID_CLASS).any()):
        return logits.sum() * 0
    pixels = interpolate(logits.permute(0, 3, 1, 2), size=tuple(labels.shape[1:]), mode="bilinear", align_corners=False)
    return cross_entropy(pixels, targets, ignore_index=VOID_CLASS)


class LinearProbe:
    """`step` by step: weights that start as N(0, .01), a bias that starts as 0, and the optimiser of a schedule."""

    def __init__(self, *, num_dims: int, num_classes: int, schedule: Schedule, seed: int) -> None:
        """The same seed and batches give the same classifier on one machine."""
        generator = torch.Generator().manual_seed(seed)
        self._weights = (INITIAL_STD * torch.randn(num_dims, num_classes, generator=generator)).requires_grad_()
        self._bias = torch.zeros(num_classes, requires_grad=True)
        self._schedule, self._optimizer = schedule, schedule.make([self._weights, self._bias])

    def begin_epoch(self, epoch: int) -> None:
        """Set the learning rate of an epoch, counted from 0."""
        for group in self._optimizer.param_groups:
            group["lr"] = self._schedule.lr_of(epoch)

    def step(self, batch: Batch) -> None:
        """One step on one batch."""
        features, labels = batch
        self._optimizer.zero_grad()
        pixel_loss(features @ self._weights + self._bias, labels=labels).backward()
        self._optimizer.step()

    @property
    def classifier(self) -> LinearClassifier:
        """The one of now."""
        return LinearClassifier(self._weights.detach().clone(), self._bias.detach().clone())


def train_linear(batches: Callable[[int], Iterator[Batch]], *, num_dims: int, num_classes: int, schedule: Schedule, seed: int) -> Iterator[LinearClassifier]:
    """The classifier after each epoch; `batches(epoch)` gives the epoch's photos. Memory: one batch with its upsampled logits."""
    probe = LinearProbe(num_dims=num_dims, num_classes=num_classes, schedule=schedule, seed=seed)
    for epoch in range(schedule.num_epochs):
        probe.begin_epoch(epoch)
        for batch in batches(epoch):
            probe.step(batch)
        yield probe.classifier
