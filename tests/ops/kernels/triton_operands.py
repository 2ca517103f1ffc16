"""Operands of the Triton kernels, made from a `Case`, and what plain torch makes of them."""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from tests.ops.contrast_case import Case

Operands = dict[str, Any]


def contrast_operands(case: Case) -> Operands:
    """Targets, candidates and exclusions as `mask_contrast` hands them to an implementation, by the sentences of its docstring; weights at random."""
    options, P = case.options, len(case.prototypes)
    candidates = torch.cat([case.prototypes, case.bank])
    valid = torch.ones(len(candidates), dtype=torch.bool)
    valid[:P] &= options.get("prototype_valid", True)
    valid[P + options.get("bank_valid_rows", len(case.bank)) :] = False
    excluded = ~valid[None]
    if (cosine := options.get("false_negative_cosine")) is not None:
        excluded = excluded | (case.prototypes @ candidates.t() > cosine)
        excluded[torch.arange(P), torch.arange(P)] = ~valid[:P]
    return {
        "features_BDhw": case.features,
        "targets_BHW": _targets(case, valid).int(),
        "candidates_ND": candidates.masked_fill(excluded.all(0)[:, None], 0),
        "excluded_PN": excluded,
        "weight_P": torch.linspace(0.5, 2, P, dtype=case.features.dtype),
        "temperature": options["temperature"],
        "stride": case.instances.shape[1] // case.features.shape[2],
    }


def _targets(case: Case, valid: Tensor) -> Tensor:
    targets = torch.full(case.instances.shape, -1)
    for image, rows in enumerate(case.options["target_of"].tolist()):
        for number, row in enumerate(rows, start=1):
            if row >= 0 and valid[row]:
                targets[image][case.instances[image] == number] = row
    return targets


def in_dtype(operands: Operands, dtype: torch.dtype) -> Operands:
    """Features in `dtype`, the rest in the dtype that is computed in."""
    summing = torch.promote_types(dtype, torch.float32)
    moved = {name: value.to(summing) if isinstance(value, Tensor) and value.is_floating_point() else value for name, value in operands.items()}
    return {**moved, "features_BDhw": operands["features_BDhw"].to(dtype)}


def plain_contrast(operands: Operands, *, dtype: torch.dtype = torch.float64) -> tuple[Tensor, Tensor, Tensor]:
    """(loss, correct, gradient) by plain torch in `dtype`, whatever it costs."""
    features = operands["features_BDhw"].to(dtype).requires_grad_()
    u = F.interpolate(features, scale_factor=operands["stride"], mode="bilinear", align_corners=False)
    took_part = operands["targets_BHW"] >= 0
    target, pixels = operands["targets_BHW"][took_part].long(), F.normalize(u, dim=1).movedim(1, 3)[took_part]
    excluded = operands["excluded_PN"].expand(len(operands["weight_P"]), -1)[target]
    logits = (pixels @ operands["candidates_ND"].to(dtype).t() / operands["temperature"]).masked_fill(excluded, -torch.inf)
    loss = (F.cross_entropy(logits, target, reduction="none") * operands["weight_P"].to(dtype)[target]).sum()
    (gradient,) = torch.autograd.grad(loss, features)
    return loss.detach(), (logits.argmax(1) == target).sum(), gradient


def plain_pool(features: Tensor, rows: Tensor, *, num_rows: int, stride: int, dsums: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """(sums, num_pixels, gradient for `dsums`) likewise, in the features' dtype."""
    features = features.clone().requires_grad_()
    u = F.interpolate(features, scale_factor=stride, mode="bilinear", align_corners=False)
    pixels, row = F.normalize(u, dim=1).movedim(1, 3)[rows >= 0], rows[rows >= 0].long()
    sums = features.new_zeros(num_rows, features.shape[1]).index_add(0, row, pixels)
    (gradient,) = torch.autograd.grad(sums, features, dsums)
    return sums.detach(), torch.bincount(row, minlength=num_rows), gradient


def distance(got: Tensor, want: Tensor) -> float:
    """|got - want| / |want|, in float64."""
    return float((got.double() - want.double()).norm() / want.double().norm())
