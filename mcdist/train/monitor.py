"""Collapse monitor: what a run looks like when its embeddings shrink to a point or a line, or its groups to a few. Read at log steps only."""

from collections.abc import Sequence

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from mcdist.groups.spread import ENTROPY_MIN, LARGEST_SHARE_MAX, Spread


@torch.no_grad()
def embedding_rank(prototypes_PD: Float[Tensor, "P D"], *, valid: Bool[Tensor, " P"]) -> Float[Tensor, ""]:
    """exp(entropy of the normalised squared singular values) of the valid rows: 1 for a line, up to D; NaN without a row. RankMe-like (Garrido et al. 2023).

    Valid rows must be finite: LAPACK raises for others.
    """
    rows = torch.where(valid[:, None], prototypes_PD, 0.0).float()
    energy = torch.linalg.eigvalsh(rows.T @ rows).clamp_min(0)
    share = energy / energy.sum().clamp_min(1e-12)
    return torch.where(valid.any(), torch.exp(-(share * share.clamp_min(1e-12).log()).sum()), torch.nan)


@torch.no_grad()
def prototype_similarity(prototypes_PD: Float[Tensor, "P D"], *, valid: Bool[Tensor, " P"]) -> Float[Tensor, ""]:
    """Mean cosine between different valid unit rows: near 1 is a collapse. 0 for a single row, NaN without one."""
    rows = torch.where(valid[:, None], prototypes_PD, 0.0).float()
    num = valid.sum()
    mean = (rows.sum(0).square().sum() - num) / (num * (num - 1)).clamp_min(1)
    return torch.where(num > 0, mean, torch.nan)


def spread_of_predictions(predicted: Sequence[Sequence[int]]) -> tuple[float, float]:
    """(lowest entropy, highest share of the largest group) over sets, of the cells that were given to a group: `mcdist.groups.spread`.

    `predicted`: for each set the cells given to the background and to each group. A set of which no cell was given to a group has entropy 0 and share 0.
    """
    spreads = [Spread(sizes=tuple(cells[1:]), num_ungrouped=cells[0]) for cells in predicted]
    return min(spread.entropy for spread in spreads), max(spread.largest_share for spread in spreads)


def group_collapse(entropy: float, largest_share: float, *, num_groups: int) -> str:
    """In words what is wrong with predictions spread so over `num_groups`; empty where they look sound."""
    if num_groups > 2 and largest_share > LARGEST_SHARE_MAX:
        return f"{100 * largest_share:.0f} % of the cells with a group were given to one of {num_groups} groups"
    if num_groups > 1 and entropy < ENTROPY_MIN:
        return f"the cells are spread over {num_groups} groups with {entropy:.2f} of the most entropy that so many can have"
    return ""
