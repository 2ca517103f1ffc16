"""The contrastive loss on a GPU, as two Triton kernels over active cells: the statistics of each pixel, then the gradients of each cell's corners.

With w the weights of a cell's four corners f_k at pixel p: z_pn = sum_k w_pk S_kn / |u_p|, S = F C' / T. S is made tile by tile on tensor
cores and shared by all pixels of the cell, so that a pixel costs four multiply-adds and one exp2 for each candidate in either kernel. Both
work in units of log2(e). Neither [pixels, D] nor [pixels, N] is ever in memory, and nothing is added atomically, so results repeat bit for bit.
"""

from typing import Any, no_type_check

import torch
import torch.nn.functional as F
import triton
import triton.language as tl
from jaxtyping import Bool, Float, Int
from torch import Tensor

from mcdist.ops.triton_cells import (
    ActiveCells,
    Tiles,
    cell_place,
    corner_row,
    corner_weights,
    device_capability,
    feature_rows,
    find_active_cells,
    fold_corners,
    inverse_length,
    pixel_labels,
    pixel_shares,
    pixel_tiles,
    squared_lengths,
)

LOG2_E = 1.4426950408889634
LN_2 = tl.constexpr(0.6931471805599453)
NEVER = tl.constexpr(-1e30)
"""The logit of a candidate that is not seen. It is finite, so that 0 times it is 0 and not NaN."""

INVERSE, TOP, TOTAL, PULL, TURN = (tl.constexpr(place) for place in range(5))
"""The numbers of each pixel that the first kernel passes to the second, as `numbers` [5, stride^2, cells] beside its target, `label`:
1 / |u|, the highest logit, the sum of exp2(z - highest), weight / (|u| sum), and weight x sum_n (softmax_n z_n - z_own) / |u|^2."""

WORD = tl.constexpr(64)
"""Candidates whose bits fill an int64; a multiple of the number of candidates that a kernel works on at once."""


PRECISION = "ieee"
"""How tl.dot multiplies float32. "tf32x3" would use tensor cores; its error must be measured on a GPU first, at a temperature of 0.01."""


@triton.jit
@no_type_check
def _rows_of_corners(cells, tile, num_cells, height, width, CELLS: tl.constexpr):
    """(row in [B h w, D], whether there is one) of corner k of the tile's cell c, at 4 c + k; k = 2 down + right."""
    slot = tile.to(tl.int64) * CELLS + tl.arange(0, 4 * CELLS) // 4
    corner = tl.arange(0, 4 * CELLS) % 4
    cell = tl.load(cells + slot, mask=slot < num_cells, other=-1)
    image, cell_y, cell_x = cell_place(cell, height, width)
    return corner_row(image, cell_y, cell_x, corner // 2, corner % 2, height, width), cell >= 0


@triton.jit
@no_type_check
def _corner_products(
    features,
    candidates,
    row,
    exists,
    n,
    num_candidates,
    D: tl.constexpr,
    BLOCK_N: tl.constexpr,
    BLOCK_K: tl.constexpr,
    CELLS: tl.constexpr,
    PRECISION: tl.constexpr,
):
    """S of candidates n, as four tensors [n, cells], one a corner: upper left, upper right, lower left, lower right."""
    dtype: tl.constexpr = candidates.dtype.element_ty
    products = tl.full((BLOCK_N, 4 * CELLS), 0.0, dtype)
    for first in range(0, D, BLOCK_K):
        corners = feature_rows(features, row, exists, first, D, BLOCK_K, dtype)
        vectors = feature_rows(candidates, n.to(tl.int64), n < num_candidates, first, D, BLOCK_K, dtype)
        products = tl.dot(vectors, tl.trans(corners), acc=products, input_precision=PRECISION, out_dtype=dtype)
    left, right = tl.split(tl.reshape(products, (BLOCK_N, CELLS, 2, 2)))
    s_00, s_10 = tl.split(left)
    s_01, s_11 = tl.split(right)
    return s_00, s_01, s_10, s_11


@triton.jit
@no_type_check
def _logits(bias, weight_00, weight_01, weight_10, weight_11, s_00, s_01, s_10, s_11):
    """z in units of log2(e). Both kernels must compute the same bits, else exp2(z - top) is off by |z| roundings: hence explicit fma."""
    return tl.fma(weight_11, s_11, tl.fma(weight_10, s_10, tl.fma(weight_01, s_01, tl.fma(weight_00, s_00, bias))))


@triton.jit
@no_type_check
def _log2_1p(x):
    """log2(1 + x) for x in 0 .. 1, also if x is tiny: 2 atanh(x / (2 + x)) as a series, exact to float64 (the hardware's log2 is not, near 1)."""
    s = x / (2 + x)
    series = s * 0.0
    for k in tl.static_range(17):
        series = series * (s * s) + 1.0 / (33 - 2 * k)
    return 2 * s * series / LN_2


@triton.jit
@no_type_check
def _pixel_statistics(
    features,
    candidates,
    excluded,
    targets,
    weight,
    cells,
    numbers,
    label,
    loss,
    correct,
    height,
    width,
    num_cells,
    num_candidates,
    num_words,
    D: tl.constexpr,
    STRIDE: tl.constexpr,
    BLOCK_K: tl.constexpr,
    BLOCK_N: tl.constexpr,
    CELLS: tl.constexpr,
    ROWS: tl.constexpr,
    LANES: tl.constexpr,
    BY_TARGET: tl.constexpr,
    WANT_GRADIENT: tl.constexpr,
    PRECISION: tl.constexpr,
):
    # [candidates, ROWS, CELLS, LANES]: a thread owns ROWS pixels of one cell and all candidates of a tile, so sums over candidates stay in registers
    dtype: tl.constexpr = candidates.dtype.element_ty
    tile = tl.program_id(0)
    partial = tile * tl.num_programs(1) + tl.program_id(1)
    slot = tile.to(tl.int64) * CELLS + tl.arange(0, CELLS)
    cell = tl.load(cells + slot, mask=slot < num_cells, other=-1)
    if tl.max(cell, 0) < 0:
        tl.store(loss + partial, 0.0)
        tl.store(correct + partial, 0)
        return
    image, cell_y, cell_x = cell_place(cell, height, width)
    pixel = tl.program_id(1) * ROWS * LANES + tl.arange(0, LANES)[None, None, :] * ROWS + tl.arange(0, ROWS)[:, None, None]
    target = pixel_labels(targets, cell[None, :, None], image[None, :, None], cell_y[None, :, None], cell_x[None, :, None], pixel, height, width, STRIDE)
    takes_part = target >= 0
    first_target = tl.min(tl.where(takes_part, target, 2147483647))
    last_target = tl.max(target)

    inverse, gradient_inverse = inverse_length(squared_lengths(features, cell, image, cell_y, cell_x, pixel, height, width, D, STRIDE, dtype))
    up, down = pixel_shares(pixel // STRIDE, STRIDE, dtype)
    left, right = pixel_shares(pixel % STRIDE, STRIDE, dtype)
    weight_00, weight_01, weight_10, weight_11 = corner_weights(up, down, left, right, inverse)
    feature_row, feature_exists = _rows_of_corners(cells, tile, num_cells, height, width, CELLS)

    own = tl.full((ROWS, CELLS, LANES), 0.0, dtype)
    before = own + NEVER
    top = own + 0.1 * NEVER  # above NEVER, so that a candidate that is not seen weighs exp2(-inf) from the first tile on
    others, mean = own, own
    for start in range(0, num_candidates, BLOCK_N):
        n = start + tl.arange(0, BLOCK_N)
        s_00, s_01, s_10, s_11 = _corner_products(features, candidates, feature_row, feature_exists, n, num_candidates, D, BLOCK_N, BLOCK_K, CELLS, PRECISION)
        bias = 0.0 if BY_TARGET else tl.load(excluded + n)[:, None, None, None]
        corner_00, corner_01 = s_00[:, None, :, None], s_01[:, None, :, None]
        corner_10, corner_11 = s_10[:, None, :, None], s_11[:, None, :, None]
        z = _logits(bias, weight_00[None], weight_01[None], weight_10[None], weight_11[None], corner_00, corner_01, corner_10, corner_11)
        n_here = n[:, None, None, None]
        if BY_TARGET:
            word = tl.load(excluded + target.to(tl.int64) * num_words + tl.cast(start, tl.int32) // WORD, mask=takes_part, other=0)
            z = tl.where(((word >> (tl.cast(start, tl.int32) % WORD)).to(tl.int32)[None] >> (n_here - start)) & 1 != 0, NEVER, z)
        if (start <= last_target) & (start + BLOCK_N > first_target):
            is_own = n_here == target[None]
            own += tl.sum(tl.where(is_own, z, 0.0), 0)
            z = tl.where(is_own, NEVER, z)
            highest = tl.max(z, 0)
            before = tl.maximum(before, tl.max(tl.where(n_here < target[None], z, NEVER), 0))
        else:
            highest = tl.max(z, 0)
            before = tl.where(start < target, tl.maximum(before, highest), before)
        raised = tl.maximum(top, highest)
        fade = tl.exp2(top - raised)
        mean = fade * (mean + others * (top - raised))
        others *= fade
        top = raised
        z -= top[None]
        e = tl.exp2(z)
        others += tl.sum(e, 0)
        if WANT_GRADIENT:
            mean += tl.sum(e * z, 0)

    # log2 of the other candidates' share against the own one's, without losing a small share beside 1
    lead = tl.where(others == 0, NEVER, tl.log2(tl.where(others == 0, 1.0, others)) + (top - own))
    excess = tl.where(lead > 0, lead, 0.0) + _log2_1p(tl.exp2(-tl.abs(lead)))
    pixel_weight = tl.load(weight + target, mask=takes_part, other=0.0)
    tl.store(loss + partial, tl.sum(tl.where(takes_part, pixel_weight * excess, 0.0)) * LN_2)
    tl.store(correct + partial, tl.sum((takes_part & (own > before) & (own >= top)).to(tl.int32)))
    if WANT_GRADIENT:
        highest = tl.maximum(top, own)
        total = others * tl.exp2(top - highest) + tl.exp2(own - highest)
        slope = (mean + others * (top - own)) * (tl.exp2(top - highest) / total) * LN_2
        at = pixel.to(tl.int64) * num_cells + slot[None, :, None]
        stored = (pixel < STRIDE * STRIDE) & (slot < num_cells)[None, :, None]
        size = tl.cast(num_cells, tl.int64) * STRIDE * STRIDE
        tl.store(numbers + INVERSE * size + at, tl.where(takes_part, inverse, 0.0), mask=stored)
        tl.store(numbers + TOP * size + at, tl.where(takes_part, highest, -NEVER), mask=stored)
        tl.store(numbers + TOTAL * size + at, tl.where(takes_part, total, 0.0), mask=stored)
        tl.store(numbers + PULL * size + at, tl.where(takes_part, pixel_weight * gradient_inverse / total, 0.0), mask=stored)
        tl.store(numbers + TURN * size + at, tl.where(takes_part, pixel_weight * slope * gradient_inverse * gradient_inverse, 0.0), mask=stored)
        tl.store(label + at, target, mask=stored)


@triton.jit
@no_type_check
def _gradient_of_products(
    s_00,
    s_01,
    s_10,
    s_11,
    start,
    n,
    slot,
    exists,
    numbers,
    label,
    excluded,
    num_cells,
    num_words,
    STRIDE: tl.constexpr,
    OWN: tl.constexpr,
    BY_TARGET: tl.constexpr,
):
    """dS of one tile of candidates, in the layout of S. Each thread goes through all pixels of its own cells, for its own candidates."""
    dtype: tl.constexpr = s_00.dtype
    size = tl.cast(num_cells, tl.int64) * STRIDE * STRIDE
    d_00, d_01, d_10, d_11 = s_00 * 0, s_00 * 0, s_00 * 0, s_00 * 0
    for x in range(STRIDE):
        left, right = pixel_shares(x, STRIDE, dtype)
        d_upper, d_lower = s_00 * 0, s_00 * 0
        for y in range(STRIDE):
            up, down = pixel_shares(y, STRIDE, dtype)
            at = tl.cast(y * STRIDE + x, tl.int64) * num_cells + slot
            inverse = tl.load(numbers + INVERSE * size + at, mask=exists, other=0.0)
            weight_00, weight_01, weight_10, weight_11 = corner_weights(up, down, left, right, inverse)
            z = _logits(0.0, weight_00[None], weight_01[None], weight_10[None], weight_11[None], s_00, s_01, s_10, s_11)
            e = tl.exp2(z - tl.load(numbers + TOP * size + at, mask=exists, other=-NEVER)[None])
            if OWN or BY_TARGET:
                target = tl.load(label + at, mask=exists, other=-1)
            if BY_TARGET:
                word = tl.load(excluded + target.to(tl.int64) * num_words + tl.cast(start, tl.int32) // WORD, mask=target >= 0, other=0)
                e = tl.where((word[None] >> (n[:, None] % WORD)) & 1 != 0, 0.0, e)
            if OWN:
                e = tl.where(n[:, None] == target[None], e - tl.load(numbers + TOTAL * size + at, mask=exists, other=0.0)[None], e)
            strength = tl.load(numbers + PULL * size + at, mask=exists, other=0.0)
            d_upper += e * (up * strength)[None]
            d_lower += e * (down * strength)[None]
        d_00 += left * d_upper
        d_01 += right * d_upper
        d_10 += left * d_lower
        d_11 += right * d_lower
    return d_00, d_01, d_10, d_11


@triton.jit
@no_type_check
def _corner_gradient(
    features,
    candidates,
    excluded,
    cells,
    numbers,
    label,
    corners,
    height,
    width,
    num_cells,
    num_candidates,
    num_words,
    D: tl.constexpr,
    STRIDE: tl.constexpr,
    BLOCK_D: tl.constexpr,
    BLOCK_K: tl.constexpr,
    BLOCK_N: tl.constexpr,
    CELLS: tl.constexpr,
    PIXELS: tl.constexpr,
    BY_TARGET: tl.constexpr,
    PRECISION: tl.constexpr,
):
    # [candidates, CELLS]: a thread owns candidates of one cell and all its pixels, so sums over pixels stay in registers
    dtype: tl.constexpr = candidates.dtype.element_ty
    tile = tl.program_id(0)
    first_d = tl.program_id(1) * BLOCK_D
    slot = tile.to(tl.int64) * CELLS + tl.arange(0, CELLS)
    cell = tl.load(cells + slot, mask=slot < num_cells, other=-1)
    if tl.max(cell, 0) < 0:
        return
    exists = cell >= 0
    pixel = tl.arange(0, PIXELS)[:, None]
    targets = tl.load(label + pixel.to(tl.int64) * num_cells + slot[None], mask=(pixel < STRIDE * STRIDE) & exists[None], other=-1)
    first_target, last_target = tl.min(tl.where(targets >= 0, targets, 2147483647)), tl.max(targets)
    feature_row, feature_exists = _rows_of_corners(cells, tile, num_cells, height, width, CELLS)

    total = tl.full((4 * CELLS, BLOCK_D), 0.0, dtype)
    for start in range(0, num_candidates, BLOCK_N):
        n = start + tl.arange(0, BLOCK_N)
        s_00, s_01, s_10, s_11 = _corner_products(features, candidates, feature_row, feature_exists, n, num_candidates, D, BLOCK_N, BLOCK_K, CELLS, PRECISION)
        if (start <= last_target) & (start + BLOCK_N > first_target):
            d_00, d_01, d_10, d_11 = _gradient_of_products(
                s_00, s_01, s_10, s_11, start, n, slot, exists, numbers, label, excluded, num_cells, num_words, STRIDE, True, BY_TARGET
            )
        else:
            d_00, d_01, d_10, d_11 = _gradient_of_products(
                s_00, s_01, s_10, s_11, start, n, slot, exists, numbers, label, excluded, num_cells, num_words, STRIDE, False, BY_TARGET
            )
        gradients = tl.reshape(tl.join(tl.join(d_00, d_10), tl.join(d_01, d_11)), (BLOCK_N, 4 * CELLS))
        if not BY_TARGET:
            gradients = tl.where((tl.load(excluded + n) == 0)[:, None], gradients, 0.0)
        vectors = feature_rows(candidates, n.to(tl.int64), n < num_candidates, first_d, D, BLOCK_D, dtype)
        total = tl.dot(tl.trans(gradients), vectors, acc=total, input_precision=PRECISION, out_dtype=dtype)

    first_x, second_x = tl.split(tl.permute(tl.reshape(total, (CELLS, 2, 2, BLOCK_D)), (0, 3, 1, 2)))
    d_00, d_10 = tl.split(first_x)
    d_01, d_11 = tl.split(second_x)
    image, cell_y, cell_x = cell_place(cell, height, width)
    f_00 = feature_rows(features, corner_row(image, cell_y, cell_x, 0, 0, height, width), exists, first_d, D, BLOCK_D, dtype)
    f_01 = feature_rows(features, corner_row(image, cell_y, cell_x, 0, 1, height, width), exists, first_d, D, BLOCK_D, dtype)
    f_10 = feature_rows(features, corner_row(image, cell_y, cell_x, 1, 0, height, width), exists, first_d, D, BLOCK_D, dtype)
    f_11 = feature_rows(features, corner_row(image, cell_y, cell_x, 1, 1, height, width), exists, first_d, D, BLOCK_D, dtype)
    t_00, t_01, t_10, t_11 = f_00 * 0, f_00 * 0, f_00 * 0, f_00 * 0
    for x in range(STRIDE):
        left, right = pixel_shares(x, STRIDE, dtype)
        upper, lower = left * f_00 + right * f_01, left * f_10 + right * f_11
        t_upper, t_lower = f_00 * 0, f_00 * 0
        for y in range(STRIDE):
            up, down = pixel_shares(y, STRIDE, dtype)
            at = tl.cast(TURN * STRIDE * STRIDE + y * STRIDE + x, tl.int64) * num_cells + slot
            strength = tl.load(numbers + at, mask=exists, other=0.0)
            along = strength[:, None] * (up * upper + down * lower)
            t_upper += up * along
            t_lower += down * along
        t_00 += left * t_upper
        t_01 += right * t_upper
        t_10 += left * t_lower
        t_11 += right * t_lower
    d = first_d + tl.arange(0, BLOCK_D)
    out = corners + slot[:, None] * 4 * D + d[None]
    stored = exists[:, None] & (d < D)[None]
    tl.store(out, d_00 * LN_2 - t_00, mask=stored)
    tl.store(out + D, d_01 * LN_2 - t_01, mask=stored)
    tl.store(out + 2 * D, d_10 * LN_2 - t_10, mask=stored)
    tl.store(out + 3 * D, d_11 * LN_2 - t_11, mask=stored)


MOST_REGISTERS = 255
"""Registers of a thread. By default ptxas aims at 168 or 128 and spills some to get there; given a number that suffices, it does not."""


def statistics_tiles(*, stride: int, D: int, by_target: bool, capability: int) -> Tiles:
    """Many pixels share S; few candidates at once leave registers for them. With 168 registers, three blocks fit on a multiprocessor."""
    pixels = pixel_tiles(stride=stride)
    registers = MOST_REGISTERS if by_target else 168 if capability < 100 else 192
    options = {"num_warps": max(4, pixels["CELLS"] * pixels["LANES"] // 32), "maxnreg": registers}
    return Tiles(constants={**pixels, "BLOCK_K": 16 if D > 8 else 8, "BLOCK_N": 8}, options=options)


def gradient_tiles(*, stride: int, D: int, by_target: bool, capability: int) -> Tiles:
    """A thread for eight candidates of one cell, or four where a program holds more than 32 entries of each gradient.

    Longer vectors take several programs, each of which computes the logits again: above 128 entries, and above 64 on sm_8x, where ptxas would spill.
    """
    block = min(128 if capability >= 90 else 64, max(16, triton.next_power_of_2(D)))
    constants = {
        "BLOCK_D": block,
        "BLOCK_K": 32 if 16 < D <= 32 and not by_target else 16,
        "BLOCK_N": 64,
        "CELLS": 16,
        "PIXELS": triton.next_power_of_2(stride * stride),
    }
    return Tiles(constants=constants, options={"num_warps": 4 if block <= 32 else 8} | ({"maxnreg": MOST_REGISTERS} if by_target else {}))


def contrast_triton(
    features_BDhw: Float[Tensor, "B D h w"],
    targets_BHW: Int[Tensor, "B H W"],
    candidates_ND: Float[Tensor, "N D"],
    excluded_PN: Bool[Tensor, "#P N"],
    *,
    weight_P: Float[Tensor, " P"],
    temperature: float,
    stride: int,
    want_gradient: bool,
) -> tuple[Float[Tensor, ""], Int[Tensor, ""], Float[Tensor, "..."]]:
    """(sum over pixels of weight x cross-entropy, pixels whose best candidate is their target, gradient of the former for the features).

    As `contrast_dense`, with the gradient computed at once, since the loss is only multiplied by a number afterwards: [B, D, h, w] in the
    candidates' dtype, or an empty tensor if none is needed. Never waits for the device; repeats bit for bit. Extra memory: the pixels'
    numbers (24 bytes each) and four vectors a cell for the gradient, and B h w D, N D.
    """
    B, D, h, w = features_BDhw.shape
    N = len(candidates_ND)
    active = find_active_cells(targets_BHW, stride=stride)
    num_cells, dtype = len(active.cells), candidates_ND.dtype
    num_pixels = num_cells * stride**2 if want_gradient else 0
    by_target = len(excluded_PN) > 1
    shared = {
        "features": features_BDhw.permute(0, 2, 3, 1).contiguous(),
        # scaled here: a float argument would reach the kernel in float32
        "candidates": candidates_ND.contiguous() * (LOG2_E / temperature),
        "excluded": hidden_bits(excluded_PN) if by_target else hidden_logits(excluded_PN, dtype=dtype),
        "cells": active.cells,
        "numbers": candidates_ND.new_empty(5 * num_pixels),
        "label": torch.empty(num_pixels, dtype=torch.int32, device=candidates_ND.device),
        **{"height": h, "width": w, "num_cells": num_cells, "num_candidates": N, "num_words": triton.cdiv(N, WORD.value)},
        **{"D": D, "STRIDE": stride, "BY_TARGET": by_target, "PRECISION": PRECISION},
    }
    tiles = statistics_tiles(stride=stride, D=D, by_target=by_target, capability=device_capability(features_BDhw.device))
    pixels = tiles.constants["ROWS"] * tiles.constants["LANES"]
    grid = (triton.cdiv(num_cells, tiles.constants["CELLS"]), triton.cdiv(stride**2, pixels))
    loss, correct = candidates_ND.new_empty(grid), torch.empty(grid, dtype=torch.int32, device=candidates_ND.device)
    with torch.cuda.device_of(features_BDhw):
        _pixel_statistics[grid](
            **shared,
            **tiles.constants,
            targets=targets_BHW.contiguous(),
            weight=weight_P.contiguous(),
            loss=loss,
            correct=correct,
            WANT_GRADIENT=want_gradient,
            **tiles.options,
        )
        dfeatures = _features_gradient(shared, active, B=B, stride=stride) if want_gradient else candidates_ND.new_empty(0)
    return loss.sum(), correct.sum(dtype=torch.int64), dfeatures


def _features_gradient(shared: dict[str, Any], active: ActiveCells, *, B: int, stride: int) -> Float[Tensor, "B D h w"]:
    D, num_cells = shared["D"], shared["num_cells"]
    tiles = gradient_tiles(stride=stride, D=D, by_target=shared["BY_TARGET"], capability=device_capability(active.cells.device))
    grid = (triton.cdiv(num_cells, tiles.constants["CELLS"]), triton.cdiv(D, tiles.constants["BLOCK_D"]))
    corners_C4D = shared["candidates"].new_empty(num_cells, 4, D)
    _corner_gradient[grid](**shared, **tiles.constants, corners=corners_C4D, **tiles.options)
    return fold_corners(corners_C4D, active.slot_of_cell, B=B, h=shared["height"], w=shared["width"])


def hidden_logits(excluded_1N: Bool[Tensor, "1 N"], *, dtype: torch.dtype) -> Float[Tensor, " padded"]:
    """The number added to the logits of each candidate, padded to whole tiles: 0, or NEVER if it is not seen or does not exist."""
    padded = F.pad(excluded_1N[0], (0, -excluded_1N.shape[1] % WORD.value), value=True)
    return torch.zeros_like(padded, dtype=dtype).masked_fill_(padded, NEVER.value)


def hidden_bits(excluded_PN: Bool[Tensor, "P N"]) -> Int[Tensor, "P words"]:
    """The same for each target, one bit a candidate, the first in the lowest bit; 1: not seen, or does not exist."""
    padded = F.pad(excluded_PN, (0, -excluded_PN.shape[1] % WORD.value), value=True)
    byte = padded.view(torch.uint8).view(len(padded), -1, 8) * (2 ** torch.arange(8, device=padded.device)).to(torch.uint8)
    return byte.sum(2, dtype=torch.uint8).view(torch.int64)
