"""Windows: a large photo is seen through overlapping squares of the size that the encoder was trained for, and what they show is laid over each other."""

import torch
from jaxtyping import Float
from torch import Tensor

Place = tuple[int, int]
"""Top and left of a window on the canvas, in px."""


def canvas_size(height: int, *, width: int, window_px: int, side: int, stride: int) -> tuple[int, int] | None:
    """(height, width) at which a photo is cut into windows, so that `window_px` of its pixels become `side`; None for a photo that fits into one window.

    Both are multiples of the stride and no shorter than `side`: a photo that is narrower than a window is seen in windows of its short side.
    """
    if not window_px or max(height, width) <= window_px:
        return None
    scale = side / min(window_px, height, width)
    return max(side, round(height * scale / stride) * stride), max(side, round(width * scale / stride) * stride)


def places(height: int, *, width: int, side: int, stride: int) -> list[Place]:
    """Windows that cover a canvas, half a window apart or a little less, on the grid of the features."""
    return [(top, left) for top in _along(height, side=side, stride=stride) for left in _along(width, side=side, stride=stride)]


class Canvas:
    """Sums what windows show of one photo, weighted, on the grid of the features."""

    def __init__(self, height: int, *, width: int, side: int, stride: int, device: torch.device) -> None:
        """Of a canvas of `height` x `width`, a multiple of `stride`."""
        self.grid, self.stride = (height // stride, width // stride), stride
        cells = side // stride
        slope = torch.minimum(torch.arange(1, cells + 1), torch.arange(cells, 0, -1)).to(device, torch.float32)
        self.window_weight = slope[:, None] * slope[None]
        self.weight = torch.zeros(self.grid, device=device)
        self.sums: Tensor | None = None

    def add(self, features: Float[Tensor, "B D h w"], *, logits: Float[Tensor, "B h w"], places: list[Place]) -> None:
        """Lay some windows over what is there."""
        if self.sums is None:
            self.sums = features.new_zeros((features.shape[1] + 1, *self.grid))
        cells = features.shape[2]
        for window, logit, (top, left) in zip(features, logits, places, strict=True):
            rows, columns = (slice(start // self.stride, start // self.stride + cells) for start in (top, left))
            self.sums[:, rows, columns] += torch.cat([window, logit[None]]) * self.window_weight
            self.weight[rows, columns] += self.window_weight

    def mean(self) -> tuple[Float[Tensor, "1 D h w"], Float[Tensor, "1 h w"]]:
        """(features, logits) of the whole canvas."""
        assert self.sums is not None, "a canvas has at least one window"
        mean = (self.sums / self.weight)[None]
        return mean[:, :-1], mean[:, -1]


def _along(length: int, *, side: int, stride: int) -> list[int]:
    """Begins of windows along one axis, evenly spread."""
    num = 1 + -(-2 * (length - side) // side)
    return [round((length - side) * place / max(num - 1, 1) / stride) * stride for place in range(num)]
