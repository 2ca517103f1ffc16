"""Group memory: what each group looks like, as the key encoder sees its objects; a moving average on the device."""

from collections.abc import Sequence

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.nn.functional import normalize


class GroupMemory(nn.Module):
    """A unit vector for each group of each set, the sets end to end. Only groups of which an object was seen are `known`; the others' rows are zero.

    m_g = unit(momentum m_g + (1 - momentum) unit(sum of this step's prototypes of group g)); a group's first step sets it.
    """

    prototypes: Float[Tensor, "G D"]
    known: Bool[Tensor, " G"]

    def __init__(self, num_groups: Sequence[int], *, dim: int, momentum: float) -> None:
        super().__init__()
        self.num_groups, self.momentum = tuple(num_groups), momentum
        self.register_buffer("prototypes", torch.zeros(sum(self.num_groups), dim))
        self.register_buffer("known", torch.zeros(sum(self.num_groups), dtype=torch.bool))

    @torch.no_grad()
    def follow(self, prototypes_PD: Float[Tensor, "P D"], *, group_of_PS: Int[Tensor, "P S"], valid: Bool[Tensor, " P"]) -> None:
        """Move towards the valid prototypes. `group_of_PS`: each one's group in each set, from 0; -1 for none.

        The sums are a product of matrices: all ranks, which hold the same rows, get the same bits.
        """
        rows_PD = torch.where(valid[:, None], prototypes_PD, 0).to(self.prototypes.dtype)
        members_PG = group_members(group_of_PS, num_groups=self.num_groups) & valid[:, None]
        mean_GD = normalize(members_PG.to(rows_PD.dtype).T @ rows_PD, dim=1)
        moved_GD = normalize(torch.lerp(mean_GD, self.prototypes, self.momentum), dim=1)
        present_G = members_PG.any(0)
        self.prototypes.copy_(torch.where(present_G[:, None], torch.where(self.known[:, None], moved_GD, mean_GD), self.prototypes))
        self.known.logical_or_(present_G)


def group_members(group_of: Int[Tensor, "*rows S"], *, num_groups: Sequence[int]) -> Bool[Tensor, "*rows G"]:
    """Which group of which set each row belongs to, the sets end to end along the last axis."""
    numbers = [torch.arange(num, device=group_of.device) for num in num_groups]
    return torch.cat([group_of[..., place, None] == number for place, number in enumerate(numbers)], dim=-1)
