"""Kept: tensors as they were before a step, to be put back where the step is skipped.

A forward pass that is not finite has moved BatchNorm's running statistics before anybody knows. `step_where_finite` spares the parameters, this
spares buffers.
"""

from collections import defaultdict
from collections.abc import Iterable

import torch
from jaxtyping import Float, Shaped
from torch import Tensor


class Kept:
    """Copies of `tensors`, end to end by dtype: a few kernels a step, whatever their number, and no wait for the device.

    Extra memory: the tensors once more (0.2 MiB for the buffers of a ResNet-50), and for a moment of `put_back` twice more.
    """

    def __init__(self, tensors: Iterable[Tensor]) -> None:
        by_dtype: dict[torch.dtype, list[Tensor]] = defaultdict(list)
        for tensor in tensors:
            by_dtype[tensor.dtype].append(tensor)
        self._live = list(by_dtype.values())
        self._copies = [_end_to_end(group) for group in self._live]

    @torch.no_grad()
    def put_back(self, *, where: Float[Tensor, ""]) -> None:
        """Give all tensors their kept values, in place, if `where` is not 0 or any of them is no longer finite; else leave them as they are.

        The second condition is for a key forward that is not finite on photos without objects: no loss shows it, so the step is taken.
        """
        now = [_end_to_end(group) for group in self._live]
        back = where != 0
        for flat in now:
            if flat.is_floating_point():
                back = back | ~flat.isfinite().all()
        for group, flat, copy in zip(self._live, now, self._copies, strict=True):
            chosen = torch.where(back, copy, flat).split([tensor.numel() for tensor in group])
            torch._foreach_copy_(group, [part.view_as(tensor) for part, tensor in zip(chosen, group, strict=True)])


def _end_to_end(tensors: list[Tensor]) -> Shaped[Tensor, " _"]:
    return torch.cat([tensor.flatten() for tensor in tensors])
