"""Dilation instead of stride: a stage keeps its resolution and its weights and sees as far as before.

A dilated depthwise convolution is exactly a plain one on the d x d interleaved sub-grids of its input. On some processors and shapes oneDNN's own dilated
kernel is the slower way, by a factor of 2 to 6, and on others the faster one by as much: `InterleavedConv2d` takes the faster.
"""

from collections.abc import Callable
from functools import partial

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from mcdist.model.backbones.fastest import other_is_faster


class InterleavedConv2d(nn.Conv2d):
    """conv2d(x, weight, dilation=d, padding=d (k - 1) / 2), depthwise, as a plain convolution of d^2 sub-grids stacked along the batch.

    It is the dilated convolution itself where that is faster here (`mcdist.model.backbones.fastest`; never under run.deterministic, whose bits depend on no
    clock), where d does not divide height and width, and in an export, whose graph is for any size.
    """

    def forward(self, input: Float[Tensor, "B C h w"]) -> Float[Tensor, "B C h w"]:  # noqa: A002 - torch's own name
        """Same result as the dilated convolution, up to the order of sums."""
        step = int(self.dilation[0])
        if step == 1 or torch.compiler.is_exporting() or input.shape[2] % step or input.shape[3] % step or self._dilated_is_faster(input):
            return super().forward(input)
        return self._interleaved(input)

    def _interleaved(self, x: Tensor) -> Tensor:
        step = int(self.dilation[0])
        plain = F.conv2d(split_grids(x, step=step), self.weight, self.bias, padding=self.kernel_size[0] // 2, groups=self.groups)
        return merge_grids(plain, step=step)

    def _dilated_is_faster(self, x: Tensor) -> bool:
        """Measured for eager float32 on a CPU, forward alone and with its backward pass apart; elsewhere never."""
        is_plain = type(x) is Tensor and x.device.type == "cpu" and x.dtype == self.weight.dtype == torch.float32
        if not is_plain or not len(x) or torch.compiler.is_compiling() or torch.is_autocast_enabled("cpu") or torch.are_deterministic_algorithms_enabled():
            return False
        trains = torch.is_grad_enabled() and (x.requires_grad or self.weight.requires_grad)
        layout = "channels_last" if x.is_contiguous(memory_format=torch.channels_last) else "contiguous"
        _, channels, height, width = x.shape
        shape = f"depthwise {channels}x{height}x{width} kernel {self.kernel_size[0]} dilation {self.dilation[0]} {layout}{' with backward' if trains else ''}"
        dilated = super().forward
        weights: list[Tensor] | None = None
        if trains:
            weights = [self.weight] if self.weight.requires_grad else []
        return other_is_faster(shape, usual=partial(_once, self._interleaved, x, weights=weights), other=partial(_once, dilated, x, weights=weights))


def _once(way: Callable[[Tensor], Tensor], x: Tensor, *, weights: list[Tensor] | None) -> None:
    """A pass that leaves no trace, neither a gradient nor a graph; with a backward pass to the input and `weights` where these are given."""
    with torch.set_grad_enabled(weights is not None):
        inside = x.detach().requires_grad_(weights is not None)
        result = way(inside)
        if weights is not None:
            torch.autograd.grad(result, [inside, *weights], torch.ones_like(result))


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
