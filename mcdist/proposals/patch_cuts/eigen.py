"""The normalised cut's eigenvectors of a batch of graphs, by block Krylov iteration on the graphs' device.

A dense solver computes all N eigenvectors of an N x N matrix to throw away all but one; here a few dozen products with the matrix suffice.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

DENSE_UP_TO = 128
"""Graphs of at most this many nodes are solved densely: the Krylov space would be nearly as large as the whole."""

STEPS = 12
"""Products with the matrix between two restarts."""


@dataclass(frozen=True, slots=True)
class CutVectors:
    """`vectors[b, :, i]`: the i-th smallest non-trivial solution of (D - W) y = lambda D y with y'Dy = 1; `residual[b]`: the largest |S z - mu z| of them."""

    values: Float[Tensor, "B k"]
    vectors: Float[Tensor, "B N k"]
    residual: Float[Tensor, " B"]


def cut_vectors(affinity_BNN: Float[Tensor, "B N N"], *, num_vectors: int = 1, tolerance: float = 1e-4, max_restarts: int = 20) -> CutVectors:
    """The `num_vectors` smoothest ways to cut each graph, the constant one left out (Shi and Malik 2000, normalised cuts).

    With S = D^-1/2 W D^-1/2 and S z = mu z, lambda = 1 - mu and y = D^-1/2 z. The trivial z = D^1/2 1 is known, so the search is orthogonal to it.

    Args:
        affinity_BNN: symmetric, not negative, every row with a positive sum; float32 or float64.
        num_vectors: less than N.
        tolerance: stop when every residual is below it; where solutions of a graph coincide, any basis of them is returned.
        max_restarts: stop then at the latest; `residual` says how far it came.

    Same numbers at every call on one device. Cost: up to 12 x max_restarts products of W with `num_vectors + 2` vectors.
    """
    degree_BN = affinity_BNN.sum(dim=2)
    root_BN = degree_BN.sqrt()
    scaled_BNN = affinity_BNN / (root_BN[:, :, None] * root_BN[:, None, :])
    trivial_BN1 = torch.nn.functional.normalize(root_BN, dim=1)[:, :, None]
    num_nodes = affinity_BNN.shape[1]
    if num_nodes <= max(DENSE_UP_TO, (num_vectors + 2) * STEPS):
        mu_Bk, z_BNk = _dense(scaled_BNN, trivial_BN1, num_vectors)
    else:
        mu_Bk, z_BNk = _krylov(scaled_BNN, trivial_BN1, num_vectors=num_vectors, tolerance=tolerance, max_restarts=max_restarts)
    residual_B = (scaled_BNN @ z_BNk - z_BNk * mu_Bk[:, None, :]).norm(dim=1).amax(dim=1)
    return CutVectors(values=1 - mu_Bk, vectors=z_BNk / root_BN[:, :, None], residual=residual_B)


def _dense(scaled_BNN: Tensor, trivial_BN1: Tensor, num_vectors: int) -> tuple[Tensor, Tensor]:
    """All eigenvectors; the trivial one is moved from mu = 1 to mu = -2, below all others."""
    mu_BN, z_BNN = torch.linalg.eigh(scaled_BNN - 3 * trivial_BN1 @ trivial_BN1.mT)
    return mu_BN.flip(1)[:, :num_vectors], z_BNN.flip(2)[:, :, :num_vectors]


def _krylov(scaled_BNN: Tensor, trivial_BN1: Tensor, *, num_vectors: int, tolerance: float, max_restarts: int) -> tuple[Tensor, Tensor]:
    """Span S^j X for j < STEPS, solve in it, and begin again from the best vectors found."""
    batch, num_nodes, _ = scaled_BNN.shape
    block = num_vectors + 2
    start = torch.randn(num_nodes, block, generator=torch.Generator().manual_seed(0)).to(scaled_BNN)
    start_BNb = start.expand(batch, num_nodes, block)
    for _ in range(max_restarts):
        basis_BNm = _basis(scaled_BNN, trivial_BN1, start_BNb)
        product_BNm = scaled_BNN @ basis_BNm
        small_Bmm = basis_BNm.mT @ product_BNm
        mu_Bm, turn_Bmm = torch.linalg.eigh((small_Bmm + small_Bmm.mT) / 2)
        mu_Bb, turn_Bmb = mu_Bm.flip(1)[:, :block], turn_Bmm.flip(2)[:, :, :block]
        start_BNb = basis_BNm @ turn_Bmb
        wanted = slice(0, num_vectors)
        residual = (product_BNm @ turn_Bmb - start_BNb * mu_Bb[:, None, :])[:, :, wanted].norm(dim=1)
        if bool((residual <= tolerance).all()):
            break
    return mu_Bb[:, wanted], start_BNb[:, :, wanted]


def _basis(scaled_BNN: Tensor, trivial_BN1: Tensor, start_BNb: Tensor) -> Tensor:
    """An orthonormal basis of the Krylov space, orthogonal to the trivial vector. Each block is made orthogonal three times: once loses digits.

    Where nothing is left of a column (the space is complete), a random one takes its place: rounding errors would point anywhere.
    """
    blocks: list[Tensor] = []
    block_BNb = start_BNb
    spare = torch.Generator().manual_seed(1)
    for _ in range(STEPS):
        for attempt in range(3):
            for earlier in (trivial_BN1, *blocks):
                block_BNb = block_BNb - earlier @ (earlier.mT @ block_BNb)
            block_BNb, left_Bbb = torch.linalg.qr(block_BNb)
            if attempt == 0:
                empty_Bb = left_Bbb.diagonal(dim1=1, dim2=2).abs() < 100 * torch.finfo(block_BNb.dtype).eps
                block_BNb = torch.where(empty_Bb[:, None, :], torch.randn(block_BNb.shape[1:], generator=spare).to(block_BNb), block_BNb)
        blocks.append(block_BNb)
        block_BNb = scaled_BNN @ block_BNb
    return torch.cat(blocks, dim=2)
