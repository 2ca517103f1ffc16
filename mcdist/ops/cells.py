"""Cells: the stride x stride pixels between four neighbouring feature centres, all of them fixed convex combinations of those four.

A feature map of h x w has (h + 1) x (w + 1) cells an image; cell (i, j), counted from 0, holds the pixel rows stride * i - (stride + 1) // 2
and the stride - 1 after it, as far as they lie in the image. Corners beyond the border are the border's own features, so the maps are
padded by replication first and the gradient is folded back after.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

CHUNK_BYTES = {"cpu": 2 * 2**20, "cuda": 64 * 2**20}
"""The largest temporary of one chunk of cells. On a CPU it fits into the cache; elsewhere it is large enough to keep the device busy."""


@dataclass(frozen=True, slots=True)
class CellGrid:
    """The sizes from which the place of every cell follows."""

    B: int
    h: int
    w: int
    stride: int

    @property
    def num_cells(self) -> int:
        """Cells of all images."""
        return self.B * (self.h + 1) * (self.w + 1)


def bilinear_weights(stride: int, *, dtype: torch.dtype, device: torch.device) -> Float[Tensor, "p 4"]:
    """Row p = y * stride + x: the weights of the upper left, upper right, lower left and lower right feature in a cell's pixel (y, x)."""
    far = (torch.arange(stride, dtype=dtype, device=device) + (stride // 2 + 0.5)) / stride - 0.5
    line = torch.stack([1 - far, far], dim=1)
    return torch.einsum("ya,xb->yxab", line, line).reshape(stride * stride, 4)


def padded_rows(features_BDhw: Float[Tensor, "B D h w"]) -> Float[Tensor, "R D"]:
    """The features with a border of one, as rows of D: row (b * (h + 2) + y) * (w + 2) + x."""
    padded = F.pad(features_BDhw, (1, 1, 1, 1), mode="replicate")
    return padded.permute(0, 2, 3, 1).reshape(-1, features_BDhw.shape[1])


def fold_border(rows_RD: Float[Tensor, "R D"], *, grid: CellGrid) -> Float[Tensor, "B D h w"]:
    """The adjoint of `padded_rows`."""
    padded = rows_RD.view(grid.B, grid.h + 2, grid.w + 2, -1)
    rows = padded[:, 1:-1].clone()
    rows[:, 0] += padded[:, 0]
    rows[:, -1] += padded[:, -1]
    folded = rows[:, :, 1:-1].clone()
    folded[:, :, 0] += rows[:, :, 0]
    folded[:, :, -1] += rows[:, :, -1]
    return folded.permute(0, 3, 1, 2)


def corner_rows(cells_A: Int[Tensor, " A"], *, grid: CellGrid) -> Int[Tensor, "A 4"]:
    """The rows of `padded_rows` at the corners of the cells numbered (b * (h + 1) + i) * (w + 1) + j."""
    image, place = cells_A // ((grid.h + 1) * (grid.w + 1)), cells_A % ((grid.h + 1) * (grid.w + 1))
    first = (image * (grid.h + 2) + place // (grid.w + 1)) * (grid.w + 2) + place % (grid.w + 1)
    return torch.stack([first, first + 1, first + grid.w + 2, first + grid.w + 3], dim=1)


def by_cell(values_BHW: Int[Tensor, "B H W"], *, grid: CellGrid, outside: int) -> Int[Tensor, "A p"]:
    """A map cut into its cells, one row a cell; pixels beyond the image are `outside`."""
    before, after = (grid.stride + 1) // 2, grid.stride // 2
    padded = F.pad(values_BHW, (before, after, before, after), value=outside)
    cells = padded.view(grid.B, grid.h + 1, grid.stride, grid.w + 1, grid.stride).permute(0, 1, 3, 2, 4)
    return cells.reshape(grid.num_cells, grid.stride * grid.stride)


def cell_chunks(targets_Ap: Int[Tensor, "A p"], *, numbers_per_pixel: int, itemsize: int) -> list[Tensor]:
    """The cells to visit, in chunks whose largest temporary fits CHUNK_BYTES (at least one cell a chunk).

    On a CPU cells without a target are left out. Elsewhere finding them would stall the device, so all cells are visited.
    """
    on_cpu = targets_Ap.device.type == "cpu"
    cells_A = (targets_Ap >= 0).any(1).nonzero().squeeze(1) if on_cpu else torch.arange(len(targets_Ap), device=targets_Ap.device)
    budget_bytes = CHUNK_BYTES.get(targets_Ap.device.type, CHUNK_BYTES["cuda"])
    size = max(1, budget_bytes // (targets_Ap.shape[1] * numbers_per_pixel * itemsize))
    return list(cells_A.split(size))
