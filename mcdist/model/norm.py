"""Normalisation layers: batch statistics as the paper has them, or kinds that do not see the batch and so do not see the ranks."""

import math

from torch import nn
from torchvision.ops import FrozenBatchNorm2d

GROUPS = 32


def convert_norm(module: nn.Module, *, kind: str) -> None:
    """Replace every BatchNorm2d inside `module`, in place.

    "batch" keeps them. "frozen": y = (x - running_mean) / sqrt(running_var + eps) * weight + bias, all four fixed as they start.
    "group": GroupNorm of at most 32 groups with the same affine start.
    """
    if kind == "batch":
        return
    for name, child in list(module.named_children()):
        if isinstance(child, nn.BatchNorm2d):
            setattr(module, name, _frozen(child) if kind == "frozen" else _group(child))
        else:
            convert_norm(child, kind=kind)


def _frozen(norm: nn.BatchNorm2d) -> FrozenBatchNorm2d:
    frozen = FrozenBatchNorm2d(norm.num_features, eps=norm.eps)
    frozen.load_state_dict({name: tensor for name, tensor in norm.state_dict().items() if name != "num_batches_tracked"})
    return frozen


def _group(norm: nn.BatchNorm2d) -> nn.GroupNorm:
    group = nn.GroupNorm(math.gcd(GROUPS, norm.num_features), norm.num_features, eps=norm.eps)
    group.weight, group.bias = norm.weight, norm.bias
    return group
