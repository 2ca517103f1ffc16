"""A training step as one writes it in plain torch: the same model and batch, every pixel's embedding, a queue, an average of the weights in a loop."""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from benchmarks.loss.plain import plain_contrast
from benchmarks.loss.pool import plain_prototypes
from mcdist.config import Config
from mcdist.data.batch import Batch
from mcdist.model.encoder import Encoder


def plain_step(config: Config, *, query: Encoder, key: Encoder, bank: Tensor, batch: Batch, lr: float) -> Callable[[], Tensor]:
    """A function that takes a step and returns the contrastive loss; the tensors are those of the run, so that both begin alike."""
    max_objects = config.views.max_objects
    trainable = [parameter for parameter in query.parameters() if parameter.requires_grad]
    optimizer = torch.optim.SGD(trainable, lr=lr, momentum=config.optim.sgd_momentum, weight_decay=config.optim.weight_decay)
    target_of = torch.arange(len(batch.indices) * max_objects).view(-1, max_objects)

    def step() -> Tensor:
        nonlocal bank
        with torch.no_grad():
            for mine, theirs in zip(key.parameters(), query.parameters(), strict=True):
                mine.mul_(config.model.momentum).add_(theirs, alpha=1 - config.model.momentum)
            prototypes = plain_prototypes(key(batch.key_images).features, batch.key_instances, max_objects=max_objects)
        valid = prototypes.norm(dim=1) > 0
        embedded = query(batch.query_images)
        contrast = plain_contrast(
            embedded.features,
            batch.query_instances,
            prototypes,
            bank,
            temperature=config.loss.temperature,
            target_of=torch.where(valid.view(-1, max_objects), target_of, -1),
            prototype_valid=valid,
        ).loss
        loss = config.loss.contrast_weight * contrast + config.loss.saliency_weight * plain_saliency(embedded.saliency, batch.query_instances)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        bank = torch.cat([prototypes[valid], bank])[: len(bank)]
        return contrast.detach()

    return step


def plain_saliency(logits: Tensor, instances: Tensor) -> Tensor:
    """Class-balanced binary cross-entropy of the upsampled logits."""
    upsampled = F.interpolate(logits, size=instances.shape[1:], mode="bilinear", align_corners=False)[:, 0]
    positive, known = (instances >= 1).float(), instances >= 0
    share = positive[known].mean()
    weight = torch.where(positive > 0, 1 - share, share) * known
    return (weight * F.binary_cross_entropy_with_logits(upsampled, positive, reduction="none")).sum() / known.sum()
