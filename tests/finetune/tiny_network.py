"""A network that sees colours and nothing else, for tests of fine-tuning: what it can learn is known."""

from typing import Any

import torch
from torch import nn
from torch.nn.functional import avg_pool2d

from mcdist.distributed import World
from mcdist.finetune.network import SegmentationNetwork
from mcdist.model.backbones.backbone import Backbone
from mcdist.model.encoder import Encoder

WORLD = World(rank=0, num_ranks=1, device=torch.device("cpu"))


class Colours(Backbone):
    """The mean colour around each cell of 2 pixels, through a norm and a convolution that may be trained."""

    def __init__(self) -> None:
        super().__init__()
        self.stride, self.num_channels, self.num_blocks, self.least_blocks = 2, 4, 1, 1
        self.mean, self.std = (0.0, 0.0, 0.0), (1.0, 1.0, 1.0)
        self.block = nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4))

    def blocks(self) -> list[nn.Module]:
        return [self.block]

    def keep_first(self, num_blocks: int) -> None:
        raise NotImplementedError

    def set_recompute(self, recompute: bool) -> None:
        raise NotImplementedError

    def levels(self, image):
        raise NotImplementedError

    def forward(self, image):
        return self.block(avg_pool2d(image, 2))


def block_of(network: SegmentationNetwork) -> Any:
    """The convolution and the norm of its backbone."""
    return network.encoder.backbone.block


def tiny_network(*, reads="backbone", num_classes=3, trains_all=False, seed=0) -> SegmentationNetwork:
    torch.manual_seed(7)
    encoder = Encoder(Colours(), decoder=nn.Conv2d(4, 5, 1), decoder_channels=5, embedding_dim=6)
    return SegmentationNetwork(encoder, reads=reads, num_classes=num_classes, trains_all=trains_all, initial_std=0.01, seed=seed)
