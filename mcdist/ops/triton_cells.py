"""Cells on the GPU: which of them hold pixels that take part, where their corners and pixels are, and the gradient from corners to features.

A cell is the square of stride x stride pixels between four neighbouring feature centres; each of its pixels is the same fixed mean of these
four corners in every cell. Cell (cy, cx) of (h + 1) x (w + 1) has the features cy - 1 and cy, cx - 1 and cx as corners, those beyond the border
replaced by the border's own. Kernels go through a list of active cells that the device makes, so the host never waits.
"""

from dataclasses import dataclass
from typing import no_type_check

import torch
import torch.nn.functional as F
import triton
import triton.language as tl
from jaxtyping import Float, Int
from torch import Tensor

from mcdist.ops.upsample import SHORTEST

SHORTEST_LENGTH = tl.constexpr(SHORTEST)

FOLD_POSITIONS = 16
"""Feature vectors that one program of the fold makes."""


@dataclass(frozen=True, slots=True)
class ActiveCells:
    """The cells with pixels that take part, in order.

    `cells[slot]` is the number of a cell, -1 behind the last active one; `slot_of_cell` is the inverse, -1 for a cell that is not active.
    Image b has the slots `first_slot[b]` to `first_slot[b + 1] - 1`.
    """

    cells: Int[Tensor, " cells"]
    slot_of_cell: Int[Tensor, " cells"]
    first_slot: Int[Tensor, " images_and_end"]


def find_active_cells(targets_BHW: Int[Tensor, "B H W"], *, stride: int) -> ActiveCells:
    """Cells with a target >= 0, found on the device; both lists are as long as if all cells were active."""
    B, H, W = targets_BHW.shape
    before, behind = stride - stride // 2, stride // 2
    takes_part = F.pad(targets_BHW >= 0, (before, behind, before, behind))
    active = takes_part.view(B, H // stride + 1, stride, W // stride + 1, stride).any(4).any(2).flatten()
    num_before = F.pad(active.cumsum(0), (1, 0))
    number = torch.arange(len(active), dtype=torch.int32, device=active.device)
    cells = torch.full((len(active) + 1,), -1, dtype=torch.int32, device=active.device)
    cells.scatter_(0, torch.where(active, num_before[:-1], len(active)), number)  # the spare place takes all that are not active
    slot_of_cell = torch.where(active, num_before[:-1], -1).int()
    return ActiveCells(cells=cells[:-1], slot_of_cell=slot_of_cell, first_slot=num_before[:: (H // stride + 1) * (W // stride + 1)].contiguous())


@triton.jit
@no_type_check
def cell_place(cell, height, width):
    """(image, cy, cx) of cells as int64; a cell of -1 is treated as cell 0 and must be masked."""
    number = tl.maximum(cell, 0).to(tl.int64)
    per_image = (height + 1) * (width + 1)
    within = number % per_image
    return number // per_image, within // (width + 1), within % (width + 1)


@triton.jit
@no_type_check
def corner_row(image, cell_y, cell_x, down, right, height, width):
    """Row in [B h w, D] of the corner `down`, `right` (each 0 or 1) of cells."""
    y = tl.minimum(tl.maximum(cell_y - 1 + down, 0), height - 1)
    x = tl.minimum(tl.maximum(cell_x - 1 + right, 0), width - 1)
    return (image * height + y) * width + x


@triton.jit
@no_type_check
def feature_rows(features, row, exists, first, D: tl.constexpr, BLOCK_D: tl.constexpr, dtype: tl.constexpr):
    """Entries first .. first + BLOCK_D - 1 of rows of [rows, D]; 0 beyond D and where a row does not exist."""
    d = first + tl.arange(0, BLOCK_D)
    return tl.load(features + row[:, None] * D + d[None], mask=exists[:, None] & (d < D)[None], other=0.0).to(dtype)


@triton.jit
@no_type_check
def pixel_shares(offset, STRIDE: tl.constexpr, dtype: tl.constexpr):
    """Weights of the two corners that a pixel lies between, at `offset` (0 .. STRIDE - 1) from the first.

    Each is one product of exact numbers: the same bits in every kernel, whatever its compiler folds or fuses.
    """
    behind = tl.cast(offset, dtype) + (0.5 if STRIDE % 2 == 0 else 0.0)
    return (STRIDE - behind) * (1.0 / STRIDE), behind * (1.0 / STRIDE)


@triton.jit
@no_type_check
def pixel_labels(labels, cell, image, cell_y, cell_x, pixel, height, width, STRIDE: tl.constexpr):
    """Labels [B, H, W] of the pixels numbered `pixel` (row-major in the cell); -1 outside the image, of no cell and beyond the last pixel."""
    y = cell_y * STRIDE + pixel // STRIDE - (STRIDE - STRIDE // 2)
    x = cell_x * STRIDE + pixel % STRIDE - (STRIDE - STRIDE // 2)
    inside = (cell >= 0) & (pixel < STRIDE * STRIDE) & (y >= 0) & (y < height * STRIDE) & (x >= 0) & (x < width * STRIDE)
    return tl.load(labels + (image * height * STRIDE + y) * width * STRIDE + x, mask=inside, other=-1)


@triton.jit
@no_type_check
def corner_weights(up, down, left, right, scale):
    """Weights of a pixel's corners upper left, upper right, lower left and lower right, times `scale`."""
    return up * left * scale, up * right * scale, down * left * scale, down * right * scale


@triton.jit
@no_type_check
def squared_lengths(features, cell, image, cell_y, cell_x, pixel, height, width, D: tl.constexpr, STRIDE: tl.constexpr, dtype: tl.constexpr):
    """|u|^2 of pixels [rows, 1, lanes] in cells [cells] summed from u itself: dot products of the corners would cancel where they nearly oppose each other."""
    row_00, row_01 = corner_row(image, cell_y, cell_x, 0, 0, height, width), corner_row(image, cell_y, cell_x, 0, 1, height, width)
    row_10, row_11 = corner_row(image, cell_y, cell_x, 1, 0, height, width), corner_row(image, cell_y, cell_x, 1, 1, height, width)
    up, down = pixel_shares(pixel // STRIDE, STRIDE, dtype)
    left, right = pixel_shares(pixel % STRIDE, STRIDE, dtype)
    weight_00, weight_01, weight_10, weight_11 = corner_weights(up, down, left, right, 1.0)
    squared = weight_00 * tl.full((cell.shape[0],), 0.0, dtype)[None, :, None]
    for d in range(D):
        f_00 = tl.load(features + row_00 * D + d, mask=cell >= 0, other=0.0).to(dtype)[None, :, None]
        f_01 = tl.load(features + row_01 * D + d, mask=cell >= 0, other=0.0).to(dtype)[None, :, None]
        f_10 = tl.load(features + row_10 * D + d, mask=cell >= 0, other=0.0).to(dtype)[None, :, None]
        f_11 = tl.load(features + row_11 * D + d, mask=cell >= 0, other=0.0).to(dtype)[None, :, None]
        u = weight_00 * f_00 + weight_01 * f_01 + weight_10 * f_10 + weight_11 * f_11
        squared += u * u
    return squared


@triton.jit
@no_type_check
def inverse_length(squared):
    """(1 / max(length, SHORTEST_LENGTH), the same for the gradient: 0 where shorter). NaN stays NaN."""
    length = tl.sqrt(squared)
    short = length < SHORTEST_LENGTH
    inverse = 1 / tl.where(short, SHORTEST_LENGTH, length)
    return inverse, tl.where(short, 0.0, inverse)


@triton.jit
@no_type_check
def _fold(corners, slot_of_cell, out, num_positions, height, width, D: tl.constexpr, BLOCK_D: tl.constexpr, POSITIONS: tl.constexpr):
    position = tl.program_id(0).to(tl.int64) * POSITIONS + tl.arange(0, POSITIONS)
    d = tl.program_id(1) * BLOCK_D + tl.arange(0, BLOCK_D)
    exists = position < num_positions
    x, y, image = position % width, position // width % height, position // width // height
    total = tl.full((POSITIONS, BLOCK_D), 0.0, out.dtype.element_ty)
    # a feature is the lower corner of cell y and the upper one of cell y + 1; at the border also that cell's other corner
    for vertical in tl.static_range(4):
        cell_y = tl.where(vertical == 0, y, tl.where(vertical == 1, y + 1, tl.where(vertical == 2, 0, height)))
        along_y = (vertical < 2) | ((vertical == 2) & (y == 0)) | ((vertical == 3) & (y == height - 1))
        for horizontal in tl.static_range(4):
            cell_x = tl.where(horizontal == 0, x, tl.where(horizontal == 1, x + 1, tl.where(horizontal == 2, 0, width)))
            along_x = (horizontal < 2) | ((horizontal == 2) & (x == 0)) | ((horizontal == 3) & (x == width - 1))
            corner = (2 if vertical % 3 == 0 else 0) + (1 if horizontal % 3 == 0 else 0)
            cell = (image * (height + 1) + cell_y) * (width + 1) + cell_x
            slot = tl.load(slot_of_cell + cell, mask=exists & along_y & along_x, other=-1).to(tl.int64)
            total += tl.load(corners + (slot * 4 + corner)[:, None] * D + d[None], mask=(slot >= 0)[:, None] & (d < D)[None], other=0.0)
    tl.store(out + position[:, None] * D + d[None], total, mask=exists[:, None] & (d < D)[None])


def fold_corners(corners_C4D: Float[Tensor, "cells 4 D"], slot_of_cell: Int[Tensor, " cells"], *, B: int, h: int, w: int) -> Float[Tensor, "B D h w"]:
    """Gradients of active cells' corners, added up at their features in one fixed order; a feature of no active cell gets 0."""
    D = corners_C4D.shape[2]
    out_BhwD = corners_C4D.new_empty(B, h, w, D)
    block = fold_block(D)
    grid = (triton.cdiv(B * h * w, FOLD_POSITIONS), triton.cdiv(D, block))
    sizes = {"num_positions": B * h * w, "height": h, "width": w, "D": D}
    _fold[grid](corners=corners_C4D, slot_of_cell=slot_of_cell, out=out_BhwD, **sizes, BLOCK_D=block, POSITIONS=FOLD_POSITIONS)
    return out_BhwD.permute(0, 3, 1, 2)


@dataclass(frozen=True, slots=True)
class Tiles:
    """The sizes that one program of a kernel works on, which are compiled into it, and the options of its launch."""

    constants: dict[str, int]
    options: dict[str, int]


def pixel_tiles(*, stride: int) -> dict[str, int]:
    """Pixels of one program as ROWS x CELLS x LANES: 128 threads or more, each with up to four neighbouring pixels of one cell."""
    pixels = min(512, triton.next_power_of_2(stride * stride))
    rows = min(4, pixels)
    lanes = pixels // rows
    return {"ROWS": rows, "CELLS": max(1, 128 // lanes), "LANES": lanes}


def fold_block(D: int) -> int:
    """Entries of a vector that one program of the fold makes."""
    return min(128, triton.next_power_of_2(D))


def device_capability(device: torch.device) -> int:
    """80 for sm_80 and so on; 90 on the CPU, for Triton's interpreter."""
    if device.type != "cuda":
        return 90
    major, minor = torch.cuda.get_device_capability(device)
    return 10 * major + minor
