"""Interleave: blocks of one dilation d work on d^2 sub-grids from their first convolution to their last, and not convolution by convolution.

Between the spatial convolutions of such a block everything looks at one pixel at a time, so that it does not matter where the pixels are. Splitting and
merging narrow maps once, instead of wide ones around every convolution, makes EfficientNet-Lite0 on a grid of stride 8 twice as fast on a CPU.
"""

import copy
from itertools import groupby
from typing import Any

from jaxtyping import Float
from torch import Tensor, nn
from torchvision.ops import FrozenBatchNorm2d

from mcdist.model.backbones.dilation import merge_grids, split_grids
from mcdist.model.backbones.staged import StagedBackbone

POINTWISE = (nn.BatchNorm2d, FrozenBatchNorm2d, nn.ReLU, nn.ReLU6, nn.Identity)
"""Layers that look at one pixel at a time, in evaluation mode."""


class InterleavedBlocks(nn.Module):
    """The same as `blocks`, whose spatial convolutions all have dilation `step`, up to the order of sums."""

    def __init__(self, blocks: nn.Sequential, *, step: int) -> None:
        """The weights are those of `blocks`, not copies."""
        super().__init__()
        self.blocks, self.step = blocks, step
        self.plain = copy.deepcopy(blocks, {id(one): one for one in (*blocks.parameters(), *blocks.buffers())})
        for name, convolution in list(self.plain.named_modules()):
            if _is_spatial(convolution):
                parent, _, last = name.rpartition(".")
                setattr(self.plain.get_submodule(parent), last, _undilated(convolution))

    def forward(self, x: Float[Tensor, "B _ h w"]) -> Float[Tensor, "B _ h w"]:
        """Falls back to the blocks as they are where `step` does not divide height and width."""
        if x.shape[2] % self.step or x.shape[3] % self.step:
            return self.blocks(x)
        return merge_grids(self.plain(split_grids(x, step=self.step)), step=self.step)


def interleave(backbone: nn.Module) -> int:
    """Replace runs of dilated blocks in the stages of a CNN by `InterleavedBlocks`, in place; returns the number of blocks. For evaluation mode only.

    Every other backbone stays as it is, and so do blocks with layers that look at more than one pixel.
    """
    if not isinstance(backbone, StagedBackbone):
        return 0
    num_found = 0
    for place, stage in enumerate(backbone.stages):
        runs = [(step, nn.Sequential(*blocks)) for step, blocks in groupby(stage, key=_common_dilation)]
        num_found += sum(len(blocks) for step, blocks in runs if step > 1)
        backbone.stages[place] = nn.Sequential(*(InterleavedBlocks(blocks, step=step) if step > 1 else blocks for step, blocks in runs))
    return num_found


def _common_dilation(block: nn.Module) -> int:
    """The dilation of all spatial convolutions of a block that keeps its grid; 1 where there is no such."""
    leaves = [module for module in block.modules() if not list(module.children())]
    spatial: list[Any] = [module for module in leaves if _is_spatial(module)]
    others_pointwise = all(isinstance(module, (nn.Conv2d, *POINTWISE)) for module in leaves)
    dilations = {convolution.dilation for convolution in spatial}
    if len(dilations) != 1 or not others_pointwise or any(max(module.stride) > 1 for module in leaves if isinstance(module, nn.Conv2d)):
        return 1
    height, width = dilations.pop()
    keeps_grid = all(convolution.padding == (height * (convolution.kernel_size[0] - 1) // 2,) * 2 for convolution in spatial)
    return height if height == width and keeps_grid and all(one.kernel_size[0] == one.kernel_size[1] for one in spatial) else 1


def _is_spatial(module: nn.Module) -> bool:
    return isinstance(module, nn.Conv2d) and max(module.kernel_size) > 1


def _undilated(convolution: nn.Module) -> nn.Conv2d:
    assert isinstance(convolution, nn.Conv2d)
    kernel = int(convolution.kernel_size[0])
    plain = nn.Conv2d(
        convolution.in_channels,
        convolution.out_channels,
        kernel,
        padding=kernel // 2,
        groups=convolution.groups,
        bias=convolution.bias is not None,
        device="meta",
    )
    plain.weight, plain.bias = convolution.weight, convolution.bias
    return plain
