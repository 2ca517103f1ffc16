"""Optimizers whose step can be skipped on the device: a non-finite gradient costs no synchronisation and changes nothing."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import SGD, AdamW, Optimizer

from mcdist.choices import OptimizerKind, require_choice
from mcdist.errors import CheckpointError


def make_optimizer(
    name: OptimizerKind,
    *,
    backbone: nn.Module,
    heads: list[nn.Module],
    lr: float,
    backbone_lr_factor: float,
    sgd_momentum: float,
    weight_decay: float,
    blocks: Sequence[nn.Module] = (),
    layer_decay: float = 1.0,
) -> Optimizer:
    """SGD or AdamW, fused, with two groups: the backbone at `backbone_lr_factor * lr`, the heads at `lr`. Frozen parameters are left out.

    With `layer_decay` below 1 each of the backbone's n `blocks` is a group of its own: block i, counted from 0 at the photo, learns at
    layer_decay^(n - i) times the backbone's rate. Each group carries `lr_factor`, which `set_lr` applies.

    Raises:
        ConfigError: an unknown name.
    """
    require_choice("optim.optimizer", name, choices=OptimizerKind)
    depths = [([backbone], 1.0)] if layer_decay == 1.0 else [([block], layer_decay ** (len(blocks) - depth)) for depth, block in enumerate(blocks)]
    groups = [
        *({"params": _trainable(modules), "lr_factor": backbone_lr_factor * factor} for modules, factor in depths),
        {"params": _trainable(heads), "lr_factor": 1.0},
    ]
    groups = [group for group in groups if group["params"]]
    if name == "sgd":
        optimizer: Optimizer = SGD(groups, lr=lr, momentum=sgd_momentum, weight_decay=weight_decay, fused=True)
    else:
        optimizer = AdamW(groups, lr=lr, weight_decay=weight_decay, fused=True)
    start_state(optimizer)
    return optimizer


def set_lr(optimizer: Optimizer, *, lr: float) -> None:
    """Give every group lr times its factor."""
    for group in optimizer.param_groups:
        group["lr"] = lr * group["lr_factor"]


def step_where_finite(optimizer: Optimizer, *, found_inf: Tensor) -> None:
    """optimizer.step() where `found_inf` (0-d float tensor on the device) is 0; where it is 1 nothing changes."""
    fused: Any = optimizer  # the fused kernels read these two attributes, as GradScaler sets them
    fused.grad_scale, fused.found_inf = None, found_inf
    optimizer.step()
    del fused.grad_scale, fused.found_inf


def optimizer_tensors(optimizer: Optimizer, *, names: dict[Tensor, str]) -> dict[str, Tensor]:
    """The optimizer's state as `{"parameter name/state name": tensor}`."""
    return {f"{names[parameter]}/{key}": value for parameter, state in optimizer.state.items() for key, value in state.items()}


def load_optimizer_tensors(optimizer: Optimizer, *, names: dict[Tensor, str], tensors: dict[str, Tensor]) -> None:
    """Inverse of `optimizer_tensors`: copies into the state that is there.

    Raises:
        CheckpointError: the checkpoint lacks a tensor of the optimizer.
    """
    with torch.no_grad():
        for name, mine in optimizer_tensors(optimizer, names=names).items():
            mine.copy_(checked_tensor(tensors, name, shape=mine.shape))


def checked_tensor(tensors: dict[str, Tensor], name: str, *, shape: torch.Size) -> Tensor:
    """tensors[name], which has that shape.

    Raises:
        CheckpointError: it is not there or has another shape.
    """
    if name not in tensors or tensors[name].shape != shape:
        raise CheckpointError(f"the checkpoint lacks the optimizer's tensor {name}; it is from a run with another optim.optimizer or model")
    return tensors[name]


def start_state(optimizer: Optimizer) -> None:
    """Make the state now: a first step that is skipped would leave SGD's fused kernel with uninitialised momentum."""
    for group in optimizer.param_groups:
        for parameter in group["params"]:
            state: dict[str, Any] = optimizer.state[parameter]
            if isinstance(optimizer, SGD):
                if group["momentum"]:
                    state["momentum_buffer"] = torch.zeros_like(parameter, memory_format=torch.preserve_format)
            else:
                state["step"] = torch.zeros((), dtype=torch.float32, device=parameter.device)
                state["exp_avg"] = torch.zeros_like(parameter, memory_format=torch.preserve_format)
                state["exp_avg_sq"] = torch.zeros_like(parameter, memory_format=torch.preserve_format)


def _trainable(modules: list[nn.Module]) -> list[nn.Parameter]:
    return [parameter for module in modules for parameter in module.parameters() if parameter.requires_grad]
