"""Dilation instead of stride: a stage keeps its resolution and its weights and sees as far as before.

A dilated depthwise convolution is slow on every CPU (its backward four to six times the plain one). It is also exactly a plain one on
the d x d interleaved sub-grids of its input, so that is how `InterleavedConv2d` computes it.
"""

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn


class InterleavedConv2d(nn.Conv2d):
    """conv2d(x, weight, dilation=d, padding=d (k - 1) / 2), depthwise, as a plain convolution of d^2 sub-grids stacked along the batch.

    Falls back to the dilated convolution where d does not divide height and width, and in an export, whose graph is for any size.
    """

    def forward(self, input: Float[Tensor, "B C h w"]) -> Float[Tensor, "B C h w"]:  # noqa: A002 - torch's own name
        """Same result as the dilated convolution, up to the order of sums."""
        step = int(self.dilation[0])
        if step == 1 or torch.compiler.is_exporting() or input.shape[2] % step or input.shape[3] % step:
            return super().forward(input)
        grids = split_grids(input, step=step)
        plain = F.conv2d(grids, self.weight, self.bias, padding=self.kernel_size[0] // 2, groups=self.groups)
        return merge_grids(plain, step=step)


class EvenConv2d(nn.Conv2d):
    """A convolution of an even kernel without stride that keeps the size of the grid: what is missing is repeated at the right and bottom borders.

    Cell (y, x) of the result sees what the strided convolution saw from there, so the strided network's cells are among those of the dilated one.
    """

    def forward(self, input: Float[Tensor, "B C h w"]) -> Float[Tensor, "B E h w"]:  # noqa: A002 - torch's own name
        """On the same grid."""
        missing = int(self.dilation[0]) * (int(self.kernel_size[0]) - 1)
        before = missing // 2
        return super().forward(F.pad(input, (before, missing - before) * 2, mode="replicate"))


def split_grids(x: Float[Tensor, "B C h w"], *, step: int) -> Float[Tensor, "M C y x"]:
    """`[B, C, h, w]` -> `[step^2 B, C, h/step, w/step]`: every step-th row and column is a small image of its own."""
    batch, channels, height, width = x.shape
    cells = x.reshape(batch, channels, height // step, step, width // step, step).permute(3, 5, 0, 1, 2, 4)
    return cells.reshape(step * step * batch, channels, height // step, width // step).contiguous(memory_format=_format(x))


def merge_grids(grids: Float[Tensor, "M C y x"], *, step: int) -> Float[Tensor, "B C h w"]:
    """Inverse of `split_grids`."""
    total, channels, height, width = grids.shape
    cells = grids.reshape(step, step, total // step**2, channels, height, width).permute(2, 3, 4, 0, 5, 1)
    return cells.reshape(total // step**2, channels, height * step, width * step).contiguous(memory_format=_format(grids))


def _format(x: Tensor) -> torch.memory_format:
    return torch.channels_last if x.is_contiguous(memory_format=torch.channels_last) else torch.contiguous_format


def dilate(stage: nn.Sequential, *, inherited: int, dilation: int) -> None:
    """Replace the stage's stride 2 by `dilation`, in place: up to the convolution that had the stride it sees with the `inherited` one.

    Every spatial convolution gets symmetric padding, so that the grid keeps its size; an even kernel is off the middle by half a cell where its
    dilation is odd.
    """
    current = inherited
    for name, convolution in list(stage.named_modules()):
        if isinstance(convolution, nn.Conv2d):
            _replace(stage, name, _same_size(convolution, dilation=current))
            if int(convolution.kernel_size[0]) > 1 and max(convolution.stride) > 1:
                current = dilation


def _same_size(convolution: nn.Conv2d, *, dilation: int) -> nn.Conv2d:
    kernel = int(convolution.kernel_size[0])
    depthwise = convolution.groups == convolution.in_channels > 1
    kind = EvenConv2d if kernel > 1 and kernel % 2 == 0 else InterleavedConv2d if depthwise else nn.Conv2d
    changed = kind(
        convolution.in_channels,
        convolution.out_channels,
        kernel,
        padding=0 if kind is EvenConv2d else dilation * (kernel - 1) // 2,
        dilation=dilation if kernel > 1 else 1,
        groups=convolution.groups,
        bias=convolution.bias is not None,
    )
    changed.weight, changed.bias = convolution.weight, convolution.bias
    return changed


def _replace(stage: nn.Module, dotted: str, replacement: nn.Module) -> None:
    parent, _, name = dotted.rpartition(".")
    setattr(stage.get_submodule(parent), name, replacement)
