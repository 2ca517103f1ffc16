"""The contrastive loss in plain torch without full-resolution embeddings, a chunk of cells at a time, on any device and without waiting for it.

A pixel's logits are z_n = sum_k (w_k / |u|) S_kn of its cell's four corners, S = F C' / T, and

    dS_kn = sum_p (w_k / |u|) g_pn,    df_k = sum_n dS_kn c_n / T - sum_l M_kl f_l,    M_kl = sum_p w_k w_l a_p / |u|^2

with g = weight x (softmax - one-hot) and a_p = sum_n g_pn z_pn. The gradient is computed in the forward pass, so neither pixels nor
probabilities outlive their chunk.
"""

import torch
from jaxtyping import Bool, Float, Int, Int32
from torch import Tensor

from mcdist.ops.cells import CellGrid, bilinear_weights, by_cell, cell_chunks, corner_rows, fold_border, padded_rows
from mcdist.ops.targets import pixel_targets
from mcdist.ops.upsample import SHORTEST


def contrast_compact(
    features_BDhw: Float[Tensor, "B D h w"],
    instances_BHW: Int[Tensor, "B H W"],
    row_of_BO: Int32[Tensor, "B O"],
    candidates_ND: Float[Tensor, "N D"],
    excluded_PN: Bool[Tensor, "#P N"],
    *,
    weight_P: Float[Tensor, " P"],
    temperature: float,
    stride: int,
    want_gradient: bool,
) -> tuple[Float[Tensor, ""], Int[Tensor, ""], Tensor]:
    """As `contrast_native`. Memory: one chunk of logits, and the cells' targets."""
    B, _, h, w = features_BDhw.shape
    grid = CellGrid(B, h, w, stride)
    rows_RD, drows_RD = padded_rows(features_BDhw), None
    targets_Ap = by_cell(pixel_targets(instances_BHW, row_of_BO=row_of_BO), grid=grid, outside=-1)
    weight_p4 = bilinear_weights(stride, dtype=rows_RD.dtype, device=rows_RD.device)
    scaled_ND = candidates_ND / temperature
    loss, correct = rows_RD.new_zeros(()), torch.zeros((), dtype=torch.int64, device=rows_RD.device)
    if want_gradient:
        drows_RD = torch.zeros_like(rows_RD)
    for cells in cell_chunks(targets_Ap, numbers_per_pixel=len(candidates_ND), itemsize=rows_RD.dtype.itemsize):
        corners_a4 = corner_rows(cells, grid=grid)
        share = _chunk(rows_RD[corners_a4], targets_Ap[cells], scaled_ND, excluded_PN, weight_P, weight_p4, want_gradient=want_gradient)
        loss, correct = loss + share[0], correct + share[1]
        if drows_RD is not None:
            for k in range(4):  # no two cells have the same k-th corner: no place is added to twice at once, so the sums repeat on any device
                drows_RD.index_add_(0, corners_a4[:, k], share[2][:, k])
    return loss, correct, fold_border(drows_RD, grid=grid) if drows_RD is not None else rows_RD.new_empty(0)


def _chunk(
    corners_a4D: Tensor, targets_ap: Tensor, scaled_ND: Tensor, excluded_PN: Tensor, weight_P: Tensor, weight_p4: Tensor, *, want_gradient: bool
) -> tuple[Tensor, Tensor, Tensor]:
    """(loss, correct, gradient of the corners) of one chunk of cells."""
    label_ap1 = targets_ap.clamp_min(0).long()[..., None]
    own_ap1 = (targets_ap >= 0)[..., None]
    length_ap1 = torch.linalg.vector_norm(weight_p4 @ corners_a4D, dim=2, keepdim=True)
    inverse_ap1 = length_ap1.clamp_min(SHORTEST).reciprocal()
    share_ap4 = weight_p4 * inverse_ap1
    z_apN = torch.bmm(share_ap4, corners_a4D @ scaled_ND.t())
    z_apN = z_apN.masked_fill_(excluded_PN[label_ap1[..., 0]] if len(excluded_PN) > 1 else excluded_PN[None], torch.finfo(z_apN.dtype).min)
    top_ap1, best_ap1 = z_apN.max(2, keepdim=True)
    zown_ap1 = z_apN.gather(2, label_ap1) - top_ap1
    z_apN = z_apN.sub_(top_ap1)
    e_apN = z_apN.exp()
    total_ap1 = e_apN.sum(2, keepdim=True)
    # pixels that take no part may hold NaN, and NaN x 0 is NaN
    weight_ap1 = torch.where(own_ap1, weight_P[label_ap1], 0)
    loss = torch.where(own_ap1, weight_ap1 * (total_ap1.log() - zown_ap1), 0).sum()
    correct = ((best_ap1 == label_ap1) & own_ap1).sum()
    if not want_gradient:
        return loss, correct, corners_a4D
    taking_ap1 = own_ap1 & ~(length_ap1 < SHORTEST)
    weight_ap1 = torch.where(taking_ap1, weight_ap1, 0)
    along_ap1 = torch.where(taking_ap1, weight_ap1 * ((e_apN[..., None, :] @ z_apN[..., None])[..., 0] / total_ap1 - zown_ap1), 0)
    dS_a4N = torch.bmm(torch.where(taking_ap1, share_ap4 * weight_ap1 / total_ap1, 0).transpose(1, 2), e_apN)
    dS_a4N.scatter_add_(2, label_ap1.transpose(1, 2).expand(-1, 4, -1), -torch.where(taking_ap1, share_ap4 * weight_ap1, 0).transpose(1, 2))
    M_a44 = torch.bmm(torch.where(taking_ap1, weight_p4 * along_ap1 * inverse_ap1.square(), 0).transpose(1, 2), weight_p4.expand(len(along_ap1), -1, -1))
    return loss, correct, dS_a4N @ scaled_ND - torch.bmm(M_a44, corners_a4D)
