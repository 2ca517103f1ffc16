"""WeightsDigest: equal for equal weights, another one for any other value, statistic, type or name."""

import torch
from torch import nn

from mcdist.model.weights_digest import weights_digest


def network() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4))


def changed(name: str) -> nn.Sequential:
    made = network()
    made.state_dict()[name].view(-1)[0] += 1e-3
    return made


def test_equal_weights_have_one_digest_and_any_change_another() -> None:
    digest = weights_digest(network())
    assert weights_digest(network()) == digest and len(digest) == 64
    renamed = nn.Sequential(nn.Identity(), *network())
    others = [weights_digest(other) for other in (changed("0.weight"), changed("1.running_mean"), network().half(), renamed)]
    assert len({digest, *others}) == 5
