"""Convert: a network's BatchNorm layers become layers that see the images of all ranks, or neither the batch nor the ranks."""

import math

from torch import Tensor, nn
from torchvision.ops import FrozenBatchNorm2d

from mcdist.choices import Norm, require_choice
from mcdist.errors import ConfigError
from mcdist.model.norms.sync import SumOverRanks, SyncBatchNorm2d

GROUPS = 32


def convert_norm(module: nn.Module, *, kind: Norm, sum_over_ranks: SumOverRanks | None = None) -> None:
    """Replace every BatchNorm2d inside `module`, in place.

    "batch" and "shuffled" keep them ("shuffled" shuffles the images, in the training step). "sync" takes the statistics of all ranks, which
    `sum_over_ranks` reaches; without it this rank is alone and BatchNorm2d is the same. "frozen" is y = (x - running_mean) / sqrt(running_var + eps)
    * weight + bias, all four fixed as they start. "group" is GroupNorm of at most 32 groups with the same affine start.

    Raises:
        ConfigError: an unknown kind, or one other than "batch" where `module` has no BatchNorm2d (a ViT with a linear decoder has LayerNorm only).
    """
    require_choice("model.norm", kind, choices=Norm)
    if not replace_norms(module, kind=kind, sum_over_ranks=sum_over_ranks) and kind != "batch":
        raise ConfigError(f"model.norm={kind} needs a network with BatchNorm layers, but this one has none; use model.norm=batch, which changes nothing")


def replace_norms(module: nn.Module, *, kind: Norm, sum_over_ranks: SumOverRanks | None = None) -> int:
    """Do what `convert_norm` does and return the number of BatchNorm2d layers found, which may be 0."""
    num_found = 0
    for name, child in list(module.named_children()):
        if isinstance(child, nn.BatchNorm2d):
            setattr(module, name, _converted(child, kind=kind, sum_over_ranks=sum_over_ranks))
            num_found += 1
        else:
            num_found += replace_norms(child, kind=kind, sum_over_ranks=sum_over_ranks)
    return num_found


def moving_buffers(module: nn.Module) -> list[Tensor]:
    """The buffers of `module` that a forward pass may change: all but those of frozen norm layers."""
    return [buffer for part in module.modules() if not isinstance(part, FrozenBatchNorm2d) for buffer in part.buffers(recurse=False)]


def _converted(norm: nn.BatchNorm2d, *, kind: Norm, sum_over_ranks: SumOverRanks | None) -> nn.Module:
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
