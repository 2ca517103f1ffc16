"""Made feature maps with known answers: objects are blocks of patches whose features point another way than the background's."""

import torch

Block = tuple[int, int, int, int]
"""First row, row after the last, first column, column after the last."""


def scene(*blocks: Block, height: int = 12, width: int = 16, noise: float = 0.05, seed: int = 0) -> torch.Tensor:
    """Features `[1, 8, height, width]`: background along axis 0, object i along axis i + 1 and a little against the background."""
    generator = torch.Generator().manual_seed(seed)
    features = torch.zeros(1, 8, height, width)
    features[0, 0] = 1
    for number, (top, bottom, left, right) in enumerate(blocks, start=1):
        features[0, :, top:bottom, left:right] = 0
        features[0, number, top:bottom, left:right] = 1
        features[0, 0, top:bottom, left:right] = -0.3
    return features + noise * torch.randn(features.shape, generator=generator)


def block_mask(block: Block, *, height: int = 12, width: int = 16) -> torch.Tensor:
    """Where a block is."""
    mask = torch.zeros(height, width, dtype=torch.bool)
    mask[block[0] : block[1], block[2] : block[3]] = True
    return mask
