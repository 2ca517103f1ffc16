"""Rotary: DINOv3's rotary places as operations on tensors, so that a graph can have them for every size of photo.

timm computes them with Python's floats, which a trace takes for constants.
"""

from collections.abc import Sequence
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn


def free_rotary_places(module: nn.Module) -> int:
    """Let every rotary embedding of DINOv3's kind inside `module` compute its places for any size under a trace, in place; returns how many.

    The same values. Other kinds stay as they are.
    """
    found: list[Any] = [part for part in module.modules() if type(part).__name__ == "RotaryEmbeddingDinoV3" and _is_usual(part)]
    for rotary in found:
        rotary._create_embed = _Places(rotary)
    return len(found)


def _is_usual(rotary: Any) -> bool:
    return rotary.normalize_coords == "separate" and rotary.grid_indexing == "ij"


class _Places:
    """In place of the embedding's own method."""

    def __init__(self, rotary: Any) -> None:
        self.rotary = rotary

    def __call__(self, feat_shape: Sequence[Any], no_aug: bool = False) -> Float[Tensor, "N D"]:
        """Sines and cosines of every cell; cells' middles are at -1..1 along each side. The shape is of numbers, or of a trace's symbols."""
        height, width = feat_shape
        device, offset = self.rotary.periods.device, 0.5 + self.rotary.grid_offset
        rows = (torch.arange(height, device=device, dtype=torch.float32) + offset) / height
        columns = (torch.arange(width, device=device, dtype=torch.float32) + offset) / width
        cells = torch.stack([rows[:, None].expand(height, width), columns[None].expand(height, width)], dim=-1)
        sines, cosines = self.rotary._get_pos_embed_from_coords((2 * cells - 1).flatten(0, 1))
        return torch.cat([sines, cosines], dim=-1)
