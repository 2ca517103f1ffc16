"""Mask pooling in plain torch, a chunk of cells at a time, on any device and without waiting for it."""

import torch
from jaxtyping import Float, Int
from torch import Tensor

from mcdist.ops.cells import CellGrid, bilinear_weights, by_cell, cell_chunks, corner_rows, fold_border, padded_rows
from mcdist.ops.upsample import SHORTEST


class _Cells:
    """The cells of one call: rows of features, the row of the output that each pixel belongs to, and the chunks to visit."""

    def __init__(self, features_BDhw: Tensor, instances_BHW: Tensor, *, max_objects: int, stride: int) -> None:
        B, D, h, w = features_BDhw.shape
        self.grid = CellGrid(B, h, w, stride)
        self.rows_RD = padded_rows(features_BDhw)
        self.weight_p4 = bilinear_weights(stride, dtype=features_BDhw.dtype, device=features_BDhw.device)
        first_B = torch.arange(B, device=instances_BHW.device)[:, None, None] * max_objects
        own = (instances_BHW >= 1) & (instances_BHW <= max_objects)
        self.row_Ap = by_cell(torch.where(own, instances_BHW - 1 + first_B, -1), grid=self.grid, outside=-1)
        self.chunks = cell_chunks(self.row_Ap, numbers_per_pixel=D, itemsize=self.rows_RD.dtype.itemsize)


def pool_compact(
    features_BDhw: Float[Tensor, "B D h w"], instances_BHW: Int[Tensor, "B H W"], *, max_objects: int, stride: int
) -> tuple[Float[Tensor, "P D"], Int[Tensor, " P"]]:
    """As `pool_native`. Memory: one chunk of pixel embeddings, and the cells' rows."""
    cells = _Cells(features_BDhw, instances_BHW, max_objects=max_objects, stride=stride)
    num_rows = len(features_BDhw) * max_objects
    sums_PD = cells.rows_RD.new_zeros(num_rows + 1, features_BDhw.shape[1])  # the last row takes what belongs to no object
    counts_P = torch.zeros(num_rows + 1, dtype=torch.int64, device=sums_PD.device)
    for chunk in cells.chunks:
        row_n = torch.where(cells.row_Ap[chunk] < 0, num_rows, cells.row_Ap[chunk]).flatten()
        pixels_nD = (cells.weight_p4 @ cells.rows_RD[corner_rows(chunk, grid=cells.grid)]).flatten(0, 1)
        length_n1 = torch.linalg.vector_norm(pixels_nD, dim=1, keepdim=True).clamp_min(SHORTEST)
        sums_PD.index_add_(0, row_n, pixels_nD / length_n1)
        counts_P.scatter_add_(0, row_n, torch.ones_like(row_n))
    return sums_PD[:-1].clone(), counts_P[:-1].clone()


def pool_compact_backward(
    features_BDhw: Float[Tensor, "B D h w"], instances_BHW: Int[Tensor, "B H W"], dsums_PD: Float[Tensor, "P D"], *, max_objects: int, stride: int
) -> Float[Tensor, "B D h w"]:
    """As `pool_native_backward`: with G the gradient of a pixel's sum, du = (G - (G . u) u / |u|^2) / |u|."""
    cells = _Cells(features_BDhw, instances_BHW, max_objects=max_objects, stride=stride)
    drows_RD = torch.zeros_like(cells.rows_RD)
    for chunk in cells.chunks:
        corners_a4 = corner_rows(chunk, grid=cells.grid)
        row_ap = cells.row_Ap[chunk]
        pixels_apD = cells.weight_p4 @ cells.rows_RD[corners_a4]
        length_ap1 = torch.linalg.vector_norm(pixels_apD, dim=2, keepdim=True)
        unit_apD = pixels_apD / length_ap1.clamp_min(SHORTEST)
        d_apD = dsums_PD[row_ap.clamp_min(0)]
        d_apD = (d_apD - (d_apD * unit_apD).sum(2, keepdim=True) * unit_apD) / length_ap1
        taking_ap1 = (row_ap >= 0)[..., None] & ~(length_ap1 < SHORTEST)
        share_a4D = cells.weight_p4.t() @ torch.where(taking_ap1, d_apD, 0)
        for k in range(4):  # no two cells have the same k-th corner
            drows_RD.index_add_(0, corners_a4[:, k], share_a4D[:, k])
    return fold_border(drows_RD, grid=cells.grid)
