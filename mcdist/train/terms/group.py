"""The group head's term: a dense segmenter learns the groups of objects, cell by cell, inside their masks, and the background around them."""

import torch
from jaxtyping import Float, Int
from torch import Tensor

from mcdist.choices import GroupBalance, require_choice
from mcdist.data.batch import Batch
from mcdist.model.group_memory import group_members
from mcdist.ops.require import require_stride
from mcdist.train.terms.term import Balance, Candidates, TermValue
from mcdist.types import Embedded


def group_term(embedded: Embedded, batch: Batch, candidates: Candidates, balance: Balance, *, balanced: GroupBalance) -> TermValue:
    """Each cell of the feature grid must name the group of its object, or the background. Counts `correct` cells among `num_cells`.

    A cell's target is the share of its area that each group and the background have; void, and objects without a group in a set, have no share in that
    set. With q the shares, p = softmax of the set's logits and w the weights of the classes

        loss = sum_{cells, c} w_c q_c (-log p_c) / sum_{all cells, c} w_c q_c,    w_c = 1, n_c^-1/2 or n_c^-1,    n_c = sum_{all cells} q_c,

    mean over the sets; `all cells` are those of all micro-batches, and of all ranks in global scope, and a set without any gives 0. A cell is correct
    whose largest logit is that of its largest share; it is counted where it has a share at all.
    """
    require_choice("loss.group_balance", balanced, choices=GroupBalance)
    targets = candidates.groups
    assert targets is not None and embedded.groups is not None
    stride = require_stride(embedded.groups, batch.query_instances)
    logits = embedded.groups.to(torch.promote_types(embedded.groups.dtype, torch.float32)).flatten(2)
    num_slots = targets.of.shape[1] + 1
    shares_BOn = object_shares(batch.query_instances, stride=stride, num_slots=num_slots).to(logits.dtype)
    loss, correct, num_cells = logits.new_zeros(()), batch.indices.new_zeros(()), batch.indices.new_zeros(())
    predicted = []
    sets = zip(logits.split([num + 1 for num in targets.num_groups], dim=1), balance.group_pixels.split(list(targets.num_groups)), strict=True)
    for place, (logits_BCn, pixels) in enumerate(sets):
        target_BCn = _classes(targets.of[..., place], num_groups=targets.num_groups[place]).to(logits.dtype).mT @ shares_BOn
        pixels_C = torch.cat([balance.num_negative[None], pixels]).to(logits.dtype) / stride**2
        weight_C = class_weights(pixels_C, balanced=balanced)
        weighted_BC = torch.einsum("bcn,bcn->bc", target_BCn, -torch.log_softmax(logits_BCn, dim=1))
        loss = loss + (weighted_BC @ weight_C).sum() / (weight_C @ pixels_C).clamp_min(torch.finfo(logits.dtype).tiny) / len(targets.num_groups)
        best_Bn, takes_part_Bn = logits_BCn.detach().argmax(1), target_BCn.sum(1) > 0
        correct = correct + ((best_Bn == target_BCn.argmax(1)) & takes_part_Bn).sum()
        num_cells = num_cells + takes_part_Bn.sum()
        predicted.append((best_Bn[..., None] == torch.arange(len(pixels_C), device=best_Bn.device)).sum(dim=(0, 1)))
    return TermValue(loss, {"correct": correct, "num_cells": num_cells}, predicted=tuple(predicted))


def object_shares(instances_BHW: Int[Tensor, "B H W"], *, stride: int, num_slots: int) -> Float[Tensor, "B slots n"]:
    """Of each cell of stride x stride pixels the share that the background (slot 0) and each object i (slot i) cover; void and others cover no slot."""
    B, H, W = instances_BHW.shape
    cells_Bnp = instances_BHW.view(B, H // stride, stride, W // stride, stride).transpose(2, 3).reshape(B, -1, stride * stride)
    # cut into cells while the numbers are small: a copy of them as int64 takes five times as long
    slot_Bnp = (cells_Bnp.clamp(-1, num_slots) + 1).long()  # void first, instances beyond the slots last
    counts_Bns = torch.zeros(B, cells_Bnp.shape[1], num_slots + 2, dtype=torch.int32, device=instances_BHW.device)
    counts_Bns.scatter_add_(2, slot_Bnp, torch.ones((), dtype=torch.int32, device=instances_BHW.device).expand_as(slot_Bnp))
    return counts_Bns[..., 1:-1].mT / stride**2


def class_weights(cells_C: Float[Tensor, " C"], *, balanced: GroupBalance) -> Float[Tensor, " C"]:
    """What a cell of each class weighs, by the number of its cells; a class without cells weighs nothing."""
    power = {"none": 0.0, "sqrt": -0.5, "inverse": -1.0}[balanced]
    return torch.where(cells_C > 0, cells_C.clamp_min(torch.finfo(cells_C.dtype).tiny) ** power, 0)


def _classes(group_of_BO: Int[Tensor, "B O"], *, num_groups: int) -> Tensor:
    """Which class the background (row 0) and each object stand for: 0 or 1 + group; an object without a group stands for none."""
    class_of = torch.nn.functional.pad(torch.where(group_of_BO >= 0, group_of_BO + 1, -1), (1, 0), value=0)
    return group_members(class_of[..., None], num_groups=(num_groups + 1,))
