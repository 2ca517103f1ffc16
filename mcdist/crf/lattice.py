"""PermutohedralLattice: sums over all pairs of points, weighted by a Gaussian of their distance, in time linear in the points.

sum_j exp(-|f_i - f_j|^2 / 2) v_j, approximately. Points fall into simplices of a lattice, hand their values to the d + 1 corners by barycentric weights,
the corners that occur are blurred with (1/2, 1, 1/2) along each of the d + 1 axes, and points read theirs back. Adams, Baek, Davis, "Fast
High-Dimensional Filtering Using the Permutohedral Lattice", Eurographics 2010; written in tensors throughout, so that it runs on any device.
"""

import math

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn.functional import embedding_bag

from mcdist.errors import DataError

_CODES = 2**62
"""Corners are told apart by one 64-bit number each."""


class PermutohedralLattice:
    """The lattice of a set of points, for filtering any values on them. Memory: (d + 1) corners a point, and two neighbours a corner and axis."""

    def __init__(self, points: Float[Tensor, "P d"], *, num_sets: int = 1) -> None:
        """`points` in units of the Gaussian's standard deviation along each axis. Of several sets, of as many points each, none sees another's.

        Raises:
            DataError: the points are so far apart that corners cannot be numbered in 64 bits.
        """
        num_points, num_axes = points.shape
        codes_CP, weights_CP, steps = _corners(points.T.contiguous(), num_sets=num_sets)
        codes, order = codes_CP.T.flatten().sort()
        is_new = torch.ones_like(codes, dtype=torch.bool)
        torch.ne(codes[1:], codes[:-1], out=is_new[1:])
        places = is_new.cumsum(0) - 1
        first = is_new.nonzero()[:, 0]
        self.num_corners = len(first)
        corner_of = torch.empty_like(order).scatter_(0, order, places)
        weights = weights_CP.T.flatten()
        self._corner_of, self._corner_weights = corner_of.int().view(num_points, -1), weights.view(num_points, -1) / (1 + 2.0**-num_axes)
        self._point_of, self._point_weights = (order // (num_axes + 1)).int(), weights[order]
        self._starts = torch.cat([first, first.new_tensor([len(codes)])]).int()
        self._neighbours = [_neighbours(codes[first], step=step) for step in steps]
        self._blur = points.new_tensor([1.0, 0.5, 0.5]).expand(self.num_corners + 1, 3).contiguous()

    def filter(self, values: Float[Tensor, "P L"]) -> Float[Tensor, "P L"]:
        """The weighted sums, a column each."""
        corners = _sums(values, rows=self._point_of, weights=self._point_weights, starts=self._starts)
        for neighbours in self._neighbours:
            corners = _sums(corners, rows=neighbours, weights=self._blur)
        return _sums(corners, rows=self._corner_of, weights=self._corner_weights)

    def weigh(self, weights: Float[Tensor, " P"]) -> None:
        """From now on multiply what each point gives and what it gets by its weight."""
        self._corner_weights = self._corner_weights * weights[:, None]
        self._point_weights = self._point_weights * weights[self._point_of]


def _sums(
    values: Float[Tensor, "N L"], *, rows: Int[Tensor, "*K"], weights: Float[Tensor, "*K"], starts: Int[Tensor, " M"] | None = None
) -> Float[Tensor, "M L"]:
    """Weighted sums of rows: of each row of `rows`, or of those from each start to the next. Several times as fast as products with sparse matrices."""
    return embedding_bag(rows, values, starts, per_sample_weights=weights, mode="sum")


def _corners(points_dP: Float[Tensor, "d P"], *, num_sets: int) -> tuple[Int[Tensor, "C P"], Float[Tensor, "C P"], list[int]]:
    """The corners of each point's simplex, C = d + 1, as one number each, their weights, which sum to 1, and the numbers' steps along each axis."""
    num_axes = points_dP.shape[0]
    size = num_axes + 1
    elevated = _elevation(num_axes, device=points_dP.device) @ points_dP
    nearest = torch.round(elevated / size)  # in multiples of size, as all below
    apart = elevated / size - nearest
    rank = nearest.sum(dim=0).round().expand(size, -1).clone()
    for one in range(size):
        for other in range(one + 1, size):
            is_less = apart[one] < apart[other]
            rank[one] += is_less
            rank[other] += ~is_less
    too_low, too_high = rank < 0, rank > num_axes
    turn = too_low.float() - too_high.float()
    nearest, apart = nearest + turn, apart - turn
    ranks = (rank + size * turn).long()
    ordered = torch.empty_like(apart).scatter_(0, ranks, apart)  # descending
    weights = torch.cat([1 + ordered[-1:] - ordered[:1], (ordered[:-1] - ordered[1:]).flip(0)])
    strides, num_codes = _strides(nearest[:num_axes] * size, num_sets=num_sets)
    by_stride = torch.tensor(strides, device=points_dP.device)
    own_set = torch.arange(num_sets, device=points_dP.device).repeat_interleave(points_dP.shape[1] // num_sets)
    base = (nearest[:num_axes].long() * (size * by_stride)[:, None]).sum(dim=0) + num_codes * own_set
    after = torch.zeros_like(ranks).scatter_(0, ranks, torch.cat([by_stride, by_stride.new_zeros(1)])[:, None].expand_as(ranks))
    beyond = torch.cat([torch.zeros_like(after[:1]), after.flip(0).cumsum(0)])[:size]  # of corner k: strides of the coordinates of the last k ranks
    codes = base + torch.arange(size, device=points_dP.device)[:, None] * by_stride.sum() - size * beyond
    return codes, weights, [sum(strides) - size * stride for stride in strides] + [sum(strides)]


def _strides(corners: Float[Tensor, "d P"], *, num_sets: int) -> tuple[list[int], int]:
    """So that the sum of coordinates times strides is another number for each corner and each of its neighbours; and by how much sets are apart."""
    num_axes = corners.shape[0]
    room = 2 * (num_axes + 2)
    ranges = [int(width) + 2 * room for width in (corners.amax(dim=1) - corners.amin(dim=1)).tolist()]
    strides = [math.prod(ranges[axis + 1 :]) for axis in range(num_axes)]
    num_codes = 2 * strides[0] * ranges[0]
    if num_codes * num_sets >= _CODES:
        raise DataError(f"the field's points span {ranges} cells, more than 64 bits can number; use larger standard deviations or smaller photos")
    return strides, num_codes


def _elevation(num_axes: int, *, device: torch.device) -> Float[Tensor, "C d"]:
    """From d axes onto the plane in d + 1 whose coordinates sum to 0, scaled so that splat, blur and slice together have variance 1."""
    columns = torch.arange(1, num_axes + 1, dtype=torch.float64)
    rows = torch.arange(num_axes + 1, dtype=torch.float64)[:, None]
    plane = torch.where(rows < columns, 1.0, torch.where(rows == columns, -columns, 0.0))
    scale = (2 / 3) ** 0.5 * (num_axes + 1) / (columns * (columns + 1)).sqrt()
    return (plane * scale).float().to(device)


def _neighbours(codes: Int[Tensor, " M"], *, step: int) -> Int[Tensor, "M1 3"]:
    """Rows of each corner and of its neighbours on both sides along one axis; M where there is none: a row beyond the last that stays 0."""
    num_corners = len(codes)
    own = torch.arange(num_corners, device=codes.device)
    wanted = codes + step
    found = torch.searchsorted(codes, wanted).clamp(max=num_corners - 1)
    there = codes[found] == wanted
    above = torch.where(there, found, num_corners)
    below = torch.full_like(above, num_corners)
    below[found[there]] = own[there]
    rows = torch.stack([own, below, above], dim=1)
    return torch.cat([rows, torch.full_like(rows[:1], num_corners)]).int()
