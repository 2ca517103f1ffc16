"""Mask pooling on a GPU: per cell and object four corner weights, then per object the weighted sum of features; no pixel embedding is ever in memory.

sum_p u_p / |u_p| over an object's pixels is sum_k (sum_p w_pk / |u_p|) f_k over the corners k of its cells. Nothing is added atomically:
results repeat bit for bit. The gradient makes the pixels of one cell at a time again and gives its corners what they owe.
"""

from typing import no_type_check

import torch
import triton
import triton.language as tl
from jaxtyping import Float, Int
from torch import Tensor

from mcdist.ops.triton_cells import (
    Tiles,
    cell_place,
    corner_row,
    corner_weights,
    feature_rows,
    find_active_cells,
    fold_corners,
    inverse_length,
    pixel_labels,
    pixel_shares,
    pixel_tiles,
    squared_lengths,
)

PARTS = 8
"""Programs that share the cells of one object; their sums are added in one fixed order."""


@triton.jit
@no_type_check
def _corner_shares(
    features,
    rows,
    cells,
    shares,
    counts,
    present,
    height,
    width,
    num_cells,
    max_objects,
    D: tl.constexpr,
    STRIDE: tl.constexpr,
    ROWS: tl.constexpr,
    CELLS: tl.constexpr,
    LANES: tl.constexpr,
):
    dtype: tl.constexpr = shares.dtype.element_ty
    slot = tl.program_id(0).to(tl.int64) * CELLS + tl.arange(0, CELLS)
    cell = tl.load(cells + slot, mask=slot < num_cells, other=-1)
    if tl.max(cell, 0) < 0:
        return
    image, cell_y, cell_x = cell_place(cell, height, width)
    pixel = tl.program_id(1) * ROWS * LANES + tl.arange(0, LANES)[None, None, :] * ROWS + tl.arange(0, ROWS)[:, None, None]
    row = pixel_labels(rows, cell[None, :, None], image[None, :, None], cell_y[None, :, None], cell_x[None, :, None], pixel, height, width, STRIDE)
    object_ = tl.where(row < 0, -1, row - image.to(tl.int32)[None, :, None] * max_objects)
    inverse, _ = inverse_length(squared_lengths(features, cell, image, cell_y, cell_x, pixel, height, width, D, STRIDE, dtype))
    up, down = pixel_shares(pixel // STRIDE, STRIDE, dtype)
    left, right = pixel_shares(pixel % STRIDE, STRIDE, dtype)
    weight_00, weight_01, weight_10, weight_11 = corner_weights(up, down, left, right, inverse)

    # what lies outside first .. last is never written and never read
    first, last = tl.min(tl.where(object_ < 0, max_objects, object_)), tl.max(object_)
    entry = slot * tl.num_programs(1) + tl.program_id(1)
    exists = slot < num_cells
    tl.store(present + entry * 2, first + tl.full((CELLS,), 0, tl.int32), mask=exists)
    tl.store(present + entry * 2 + 1, last + tl.full((CELLS,), 0, tl.int32), mask=exists)
    for current in range(first, last + 1):
        member = object_ == current
        at = entry * max_objects + current
        tl.store(shares + at * 4, tl.sum(tl.sum(tl.where(member, weight_00, 0.0), 0), 1), mask=exists)
        tl.store(shares + at * 4 + 1, tl.sum(tl.sum(tl.where(member, weight_01, 0.0), 0), 1), mask=exists)
        tl.store(shares + at * 4 + 2, tl.sum(tl.sum(tl.where(member, weight_10, 0.0), 0), 1), mask=exists)
        tl.store(shares + at * 4 + 3, tl.sum(tl.sum(tl.where(member, weight_11, 0.0), 0), 1), mask=exists)
        tl.store(counts + at, tl.sum(tl.sum(member.to(tl.int32), 0), 1), mask=exists)


@triton.jit
@no_type_check
def _sum_rows(
    features,
    cells,
    first_slot,
    shares,
    counts,
    present,
    sums,
    num_pixels,
    height,
    width,
    max_objects,
    D: tl.constexpr,
    BLOCKS: tl.constexpr,
    PARTS: tl.constexpr,
    ENTRIES: tl.constexpr,
    BLOCK_D: tl.constexpr,
):
    dtype: tl.constexpr = shares.dtype.element_ty
    row, part, first_d = tl.program_id(0).to(tl.int64), tl.program_id(1), tl.program_id(2) * BLOCK_D
    of_image = first_slot + row // max_objects
    begin, end = tl.load(of_image) * BLOCKS, tl.load(of_image + 1) * BLOCKS
    total, count = tl.full((ENTRIES, BLOCK_D), 0.0, dtype), tl.full((ENTRIES,), 0, tl.int32)
    for start in range(begin + part * ENTRIES, end, PARTS * ENTRIES):
        entry = start + tl.arange(0, ENTRIES).to(tl.int64)
        exists = entry < end
        first, last = tl.load(present + entry * 2, mask=exists, other=0), tl.load(present + entry * 2 + 1, mask=exists, other=-1)
        exists = exists & (first <= row % max_objects) & (row % max_objects <= last)
        at = entry * max_objects + row % max_objects
        count += tl.load(counts + at, mask=exists, other=0)
        cell = tl.load(cells + entry // BLOCKS, mask=exists, other=-1)
        image, cell_y, cell_x = cell_place(cell, height, width)
        for corner in tl.static_range(4):
            share = tl.load(shares + at * 4 + corner, mask=exists, other=0.0)
            # a feature without a share is not read: it may be NaN
            owed = share != 0
            corner_of = corner_row(image, cell_y, cell_x, corner // 2, corner % 2, height, width)
            total += share[:, None] * feature_rows(features, corner_of, owed, first_d, D, BLOCK_D, dtype)
    d = first_d + tl.arange(0, BLOCK_D)
    tl.store(sums + (row * PARTS + part) * D + d, tl.sum(total, 0), mask=d < D)
    if first_d == 0:
        tl.store(num_pixels + row * PARTS + part, tl.sum(count, 0))


@triton.jit
@no_type_check
def _corner_gradient(
    features,
    rows,
    cells,
    dsums,
    corners,
    height,
    width,
    D: tl.constexpr,
    STRIDE: tl.constexpr,
    PIXELS: tl.constexpr,
    BLOCK_D: tl.constexpr,
):
    dtype: tl.constexpr = dsums.dtype.element_ty
    slot = tl.program_id(0).to(tl.int64)
    cell = tl.load(cells + slot)
    if cell < 0:
        return
    image, cell_y, cell_x = cell_place(cell, height, width)
    d = tl.arange(0, BLOCK_D)
    within = d < D
    f_00 = tl.load(features + corner_row(image, cell_y, cell_x, 0, 0, height, width) * D + d, mask=within, other=0.0).to(dtype)[None]
    f_01 = tl.load(features + corner_row(image, cell_y, cell_x, 0, 1, height, width) * D + d, mask=within, other=0.0).to(dtype)[None]
    f_10 = tl.load(features + corner_row(image, cell_y, cell_x, 1, 0, height, width) * D + d, mask=within, other=0.0).to(dtype)[None]
    f_11 = tl.load(features + corner_row(image, cell_y, cell_x, 1, 1, height, width) * D + d, mask=within, other=0.0).to(dtype)[None]
    d_00, d_01 = tl.full((BLOCK_D,), 0.0, dtype), tl.full((BLOCK_D,), 0.0, dtype)
    d_10, d_11 = tl.full((BLOCK_D,), 0.0, dtype), tl.full((BLOCK_D,), 0.0, dtype)
    for start in range(0, STRIDE * STRIDE, PIXELS):
        pixel = start + tl.arange(0, PIXELS)
        row = pixel_labels(rows, cell, image, cell_y, cell_x, pixel, height, width, STRIDE)
        up, down = pixel_shares(pixel[:, None] // STRIDE, STRIDE, dtype)
        left, right = pixel_shares(pixel[:, None] % STRIDE, STRIDE, dtype)
        weight_00, weight_01, weight_10, weight_11 = corner_weights(up, down, left, right, 1.0)
        u = weight_00 * f_00 + weight_01 * f_01 + weight_10 * f_10 + weight_11 * f_11
        inverse, gradient_inverse = inverse_length(tl.sum(u * u, 1))
        unit = u * inverse[:, None]
        dunit = feature_rows(dsums, row.to(tl.int64), row >= 0, 0, D, BLOCK_D, dtype)
        du = (dunit - unit * tl.sum(dunit * unit, 1)[:, None]) * gradient_inverse[:, None]
        du = tl.where((row >= 0)[:, None], du, 0.0)
        d_00 += tl.sum(weight_00 * du, 0)
        d_01 += tl.sum(weight_01 * du, 0)
        d_10 += tl.sum(weight_10 * du, 0)
        d_11 += tl.sum(weight_11 * du, 0)
    out = corners + slot * 4 * D + d
    tl.store(out, d_00, mask=within)
    tl.store(out + D, d_01, mask=within)
    tl.store(out + 2 * D, d_10, mask=within)
    tl.store(out + 3 * D, d_11, mask=within)


def share_tiles(*, stride: int) -> Tiles:
    """As for the statistics of the contrastive loss, each thread owns pixels."""
    pixels = pixel_tiles(stride=stride)
    return Tiles(constants=pixels, options={"num_warps": max(4, pixels["CELLS"] * pixels["LANES"] // 32)})


def sum_tiles(*, D: int) -> Tiles:
    """Each step works on 2,048 numbers."""
    block = min(128, triton.next_power_of_2(D))
    return Tiles(constants={"PARTS": PARTS, "ENTRIES": max(16, 2048 // block), "BLOCK_D": block}, options={"num_warps": 4})


def pool_gradient_tiles(*, stride: int, D: int) -> Tiles:
    """Each step works on pixels with all their entries: 2,048 numbers, or one pixel."""
    block = triton.next_power_of_2(D)
    pixels = min(triton.next_power_of_2(stride * stride), max(1, 2048 // block))
    return Tiles(constants={"PIXELS": pixels, "BLOCK_D": block}, options={"num_warps": 4})


def pool_triton(
    features_BDhw: Float[Tensor, "B D h w"], rows_BHW: Int[Tensor, "B H W"], *, num_rows: int, stride: int
) -> tuple[Float[Tensor, "P D"], Int[Tensor, " P"]]:
    """(sum of unit pixel embeddings, number of pixels) of every row; as `pool_dense`, summed in float32, or float64 if the features are.

    `rows_BHW` holds the row of each pixel, -1 for none; the rows of image b are b * num_rows / B and the num_rows / B - 1 behind it.
    Never waits for the device; repeats bit for bit. Extra memory: five numbers a cell and object, one copy of the features.
    """
    B, D, h, w = features_BDhw.shape
    active = find_active_cells(rows_BHW, stride=stride)
    num_cells, max_objects = len(active.cells), num_rows // B
    tiles, sums_tiles = share_tiles(stride=stride), sum_tiles(D=D)
    blocks = triton.cdiv(stride**2, tiles.constants["ROWS"] * tiles.constants["LANES"])
    features_BhwD = features_BDhw.permute(0, 2, 3, 1).contiguous()
    dtype, device = torch.promote_types(features_BDhw.dtype, torch.float32), features_BDhw.device
    found = {
        "shares": torch.empty(num_cells * blocks, max_objects, 4, dtype=dtype, device=device),
        "counts": torch.empty(num_cells * blocks, max_objects, dtype=torch.int32, device=device),
        "present": torch.empty(num_cells * blocks, 2, dtype=torch.int32, device=device),
        **{"features": features_BhwD, "cells": active.cells, "height": h, "width": w, "max_objects": max_objects, "D": D},
    }
    sums_PRD = torch.empty(num_rows, PARTS, D, dtype=dtype, device=device)
    num_pixels_PR = torch.empty(num_rows, PARTS, dtype=torch.int32, device=device)
    with torch.cuda.device_of(features_BDhw):
        grid = (triton.cdiv(num_cells, tiles.constants["CELLS"]), blocks)
        _corner_shares[grid](**found, **tiles.constants, rows=rows_BHW.contiguous(), num_cells=num_cells, STRIDE=stride, **tiles.options)
        per_row = (num_rows, PARTS, triton.cdiv(D, sums_tiles.constants["BLOCK_D"]))
        outputs = {"sums": sums_PRD, "num_pixels": num_pixels_PR, "first_slot": active.first_slot}
        _sum_rows[per_row](**found, **outputs, **sums_tiles.constants, BLOCKS=blocks, **sums_tiles.options)
    return sums_PRD.sum(1), num_pixels_PR.sum(1, dtype=torch.int64)


def pool_triton_backward(
    features_BDhw: Float[Tensor, "B D h w"], rows_BHW: Int[Tensor, "B H W"], dsums_PD: Float[Tensor, "P D"], *, stride: int
) -> Float[Tensor, "B D h w"]:
    """Gradient of `pool_triton`'s sums for the features, in the dtype of `dsums_PD`; a vector too short to have a direction passes none."""
    B, D, h, w = features_BDhw.shape
    active = find_active_cells(rows_BHW, stride=stride)
    tiles = pool_gradient_tiles(stride=stride, D=D)
    corners_C4D = dsums_PD.new_empty(len(active.cells), 4, D)
    with torch.cuda.device_of(features_BDhw):
        _corner_gradient[(len(active.cells),)](
            features=features_BDhw.permute(0, 2, 3, 1).contiguous(),
            rows=rows_BHW.contiguous(),
            cells=active.cells,
            dsums=dsums_PD.contiguous(),
            corners=corners_C4D,
            height=h,
            width=w,
            D=D,
            STRIDE=stride,
            **tiles.constants,
            **tiles.options,
        )
        return fold_corners(corners_C4D, active.slot_of_cell, B=B, h=h, w=w)
