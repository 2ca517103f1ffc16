"""Windows: a grid of cells cut into tiles, each with the part of the grid that its cells may look at. Nothing outside is ever compared."""

from dataclasses import dataclass

import torch
from jaxtyping import Bool
from torch import Tensor

from mcdist.evaluate.propagation.settings import Shape

TILE_CELLS = 8
"""Side of a tile. Smaller tiles compare fewer cells in vain, larger ones make larger products; on a CPU both cost the same from 6 to 12."""


@dataclass(frozen=True, slots=True)
class Window:
    """`rows`, `columns`: the tile's cells; `key_rows`, `key_columns`: the rectangle around all that these may look at.

    `allowed`: which cells of that rectangle each of the tile's cells may look at, both in row-major order.
    """

    rows: slice
    columns: slice
    key_rows: slice
    key_columns: slice
    allowed: Bool[Tensor, "Q K"]


def windows_of(height: int, width: int, *, radius: int, shape: Shape, tile: int = TILE_CELLS, device: torch.device | str = "cpu") -> tuple[Window, ...]:
    """All tiles of a grid, row by row; the cells of the tiles are the grid's, each once."""
    return tuple(
        _window(_span(top, size=height, tile=tile), _span(left, size=width, tile=tile), height=height, width=width, radius=radius, shape=shape, device=device)
        for top in range(0, height, tile)
        for left in range(0, width, tile)
    )


def _window(rows: slice, columns: slice, *, height: int, width: int, radius: int, shape: Shape, device: torch.device | str) -> Window:
    key_rows, key_columns = (slice(max(0, one.start - radius), min(size, one.stop + radius)) for one, size in ((rows, height), (columns, width)))
    apart_rows, apart_columns = (
        (torch.arange(own.start, own.stop)[:, None] - torch.arange(keys.start, keys.stop)[None]).abs()
        for own, keys in ((rows, key_rows), (columns, key_columns))
    )
    down, across = apart_rows[:, None, :, None], apart_columns[None, :, None, :]
    near = (down <= radius) & (across <= radius) if shape == "square" else down**2 + across**2 <= radius**2
    return Window(rows, columns, key_rows, key_columns, near.flatten(2).flatten(0, 1).to(device))


def _span(start: int, *, size: int, tile: int) -> slice:
    return slice(start, min(size, start + tile))
