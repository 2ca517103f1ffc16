"""Collapse monitor: what a contrastive run looks like when its embeddings shrink to a point or a line. Read at log steps only."""

import torch
from jaxtyping import Bool, Float
from torch import Tensor


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
