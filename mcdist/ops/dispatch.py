"""Choose the implementation that computes an operator.

"reference" is dense and masked: it runs on any device, under fake tensors and never waits for the device. "gathered" touches
foreground pixels only. It has to count them, which costs nothing on a CPU and would stall a GPU: so it is for CPU tensors alone.
"""

import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensor

from mcdist.errors import ConfigError

IMPLEMENTATIONS = ("auto", "reference", "gathered")
"""What `implementation=` may be."""


def choose_implementation(tensor: Tensor, *, implementation: str) -> str:
    """The implementation for operands like `tensor`: "auto" is "gathered" on a real CPU tensor, else "reference".

    Raises:
        ConfigError: the name is unknown, or "gathered" is asked for where pixels cannot be counted for free.
    """
    if implementation not in IMPLEMENTATIONS:
        raise ConfigError(f"wanted implementation to be one of {', '.join(IMPLEMENTATIONS)}, got {implementation!r}: choose one of these")
    if implementation == "auto":
        return "gathered" if _counts_for_free(tensor) else "reference"
    if implementation == "gathered" and not _counts_for_free(tensor):
        where = f"a {type(tensor).__name__} on {tensor.device}"
        raise ConfigError(f"implementation 'gathered' wants real CPU tensors outside torch.compile, got {where}: use 'auto' or 'reference'")
    return implementation


def _counts_for_free(tensor: Tensor) -> bool:
    return tensor.device.type == "cpu" and not isinstance(tensor, FakeTensor) and not torch.compiler.is_compiling()
