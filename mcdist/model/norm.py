"""Normalisation layers: batch statistics of this rank as the paper has them, of all ranks, or kinds that see neither batch nor ranks."""

import math

from torch import nn
from torchvision.ops import FrozenBatchNorm2d

from mcdist.model.sync_norm import SumOverRanks, SyncBatchNorm2d

GROUPS = 32


def convert_norm(module: nn.Module, *, kind: str, sum_over_ranks: SumOverRanks | None = None) -> None:
    """Replace every BatchNorm2d inside `module`, in place.

    "batch" and "shuffled" keep them (what is shuffled are the images, in the training step). "sync": the statistics are those of all ranks, which
    `sum_over_ranks` reaches; without it this rank is alone and BatchNorm2d is the same. "frozen": y = (x - running_mean) / sqrt(running_var + eps)
    * weight + bias, all four fixed as they start. "group": GroupNorm of at most 32 groups with the same affine start.
    """
    for name, child in list(module.named_children()):
        if isinstance(child, nn.BatchNorm2d):
            setattr(module, name, _converted(child, kind=kind, sum_over_ranks=sum_over_ranks))
        else:
            convert_norm(child, kind=kind, sum_over_ranks=sum_over_ranks)


def _converted(norm: nn.BatchNorm2d, *, kind: str, sum_over_ranks: SumOverRanks | None) -> nn.Module:
    if kind == "sync" and sum_over_ranks is not None:
        return SyncBatchNorm2d.of(norm, sum_over_ranks=sum_over_ranks)
    if kind == "frozen":
        return _frozen(norm)
    return _group(norm) if kind == "group" else norm


def _frozen(norm: nn.BatchNorm2d) -> FrozenBatchNorm2d:
    frozen = FrozenBatchNorm2d(norm.num_features, eps=norm.eps)
    frozen.load_state_dict({name: tensor for name, tensor in norm.state_dict().items() if name != "num_batches_tracked"})
    return frozen


def _group(norm: nn.BatchNorm2d) -> nn.GroupNorm:
    group = nn.GroupNorm(math.gcd(GROUPS, norm.num_features), norm.num_features, eps=norm.eps)
    group.weight, group.bias = norm.weight, norm.bias
    return group
