"""Training steps with the losses of lightly (lightly-ai/lightly) that are nearest to ours, written as its documentation shows: same model, same batch.

Neither is our loss. DetConS contrasts one vector an object, not pixels, and trains on both views. NTXent with a memory bank contrasts each cell of the
feature map, not each pixel, with its object's prototype and the bank; other objects of the batch are no negatives.
"""

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from mcdist.config import Config
from mcdist.data.batch import Batch
from mcdist.model.encoder import Encoder


def detcon_step(config: Config, *, query: Encoder, batch: Batch, lr: float) -> Callable[[], Tensor]:
    """DetCon, Hénaff et al., ICCV 2021, without a momentum encoder."""
    from lightly.loss import DetConSLoss

    loss_of: Any = DetConSLoss(temperature=config.loss.temperature, gather_distributed=False)
    optimizer = _optimizer(config, query, lr=lr)
    numbers = torch.arange(config.views.max_objects).expand(len(batch.indices), -1)

    def step() -> Tensor:
        pooled = [
            region_means(query(images).features, instances, max_objects=config.views.max_objects)
            for images, instances in ((batch.query_images, batch.query_instances), (batch.key_images, batch.key_instances))
        ]
        return _update(optimizer, loss_of(*pooled, numbers, numbers))

    return step


def bank_step(config: Config, *, query: Encoder, key: Encoder, batch: Batch, lr: float) -> Callable[[], Tensor]:
    """NTXentLoss with a memory bank as in MoCo, over the cells that lie in objects, as DenseCL contrasts cells."""
    from lightly.loss import NTXentLoss
    from lightly.models.utils import update_momentum

    loss_of: Any = NTXentLoss(temperature=config.loss.temperature, memory_bank_size=(config.model.bank_size, config.model.embedding_dim))
    optimizer = _optimizer(config, query, lr=lr)
    max_objects = config.views.max_objects

    def step() -> Tensor:
        update_momentum(query, key, m=config.model.momentum)
        with torch.no_grad():
            prototypes = region_means(key(batch.key_images).features, batch.key_instances, max_objects=max_objects)
        features = query(batch.query_images).features
        cells = F.interpolate(batch.query_instances[:, None].float(), size=features.shape[2:], mode="nearest")[:, 0].long()
        image, row, column = (cells >= 1).nonzero(as_tuple=True)
        return _update(optimizer, loss_of(features[image, :, row, column], prototypes[image, cells[image, row, column] - 1]))

    return step


def region_means(features: Tensor, instances: Tensor, *, max_objects: int) -> Tensor:
    """[B, M, D]: means over each object's share of every cell, as DetCon pools."""
    masks = F.one_hot(instances.long().clamp_min(0), max_objects + 1)[..., 1:].permute(0, 3, 1, 2).float()
    shares = F.adaptive_avg_pool2d(masks, (features.shape[2], features.shape[3]))
    return torch.einsum("bmhw,bdhw->bmd", shares, features) / shares.sum(dim=(2, 3)).clamp_min(1e-6)[..., None]


def _optimizer(config: Config, query: Encoder, *, lr: float) -> torch.optim.Optimizer:
    trainable = [parameter for parameter in query.parameters() if parameter.requires_grad]
    return torch.optim.SGD(trainable, lr=lr, momentum=config.optim.sgd_momentum, weight_decay=config.optim.weight_decay)


def _update(optimizer: torch.optim.Optimizer, loss: Tensor) -> Tensor:
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    return loss.detach()
