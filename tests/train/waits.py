"""Counts what makes the host wait for a device, on any device: on a GPU each would be a synchronisation, on the CPU it is the same call."""

from collections import Counter
from typing import Any

import torch
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

OPERATORS = frozenset(
    ("_local_scalar_dense", "is_nonzero", "equal", "nonzero", "masked_select", "_unique2", "unique_dim", "unique_consecutive", "bincount", "lift_fresh")
)
"""Operators whose result's value or size the host must know; `lift_fresh` is a tensor made of Python numbers, a blocking copy to a device."""

METHODS = frozenset(("tolist", "numpy", "cpu", "__array__"))
"""Calls that read memory without any operator where the tensor already lies on the host."""


class Waits(TorchDispatchMode):
    """`with Waits() as waits:` then `waits.counts` by name. Sees the backward pass too, as long as it runs on this thread (it does on the CPU)."""

    def __init__(self) -> None:
        super().__init__()
        self.counts: Counter[str] = Counter()
        self._methods = _Methods(self.counts)

    def __enter__(self) -> "Waits":
        self._methods.__enter__()
        super().__enter__()
        return self

    def __exit__(self, *exception: Any) -> None:
        super().__exit__(*exception)
        self._methods.__exit__(*exception)

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = func.overloadpacket.__name__
        leaves_device = any(isinstance(value, torch.device) and value.type == "cpu" for value in (kwargs or {}).values()) and name == "_to_copy"
        leaves_device = leaves_device and args[0].device.type != "cpu"
        by_mask = name.startswith("index") and any(_is_mask(index) for index in (args[1] if len(args) > 1 and isinstance(args[1], list | tuple) else ()))
        repeats = name == "repeat_interleave" and (kwargs or {}).get("output_size") is None
        if name in OPERATORS or leaves_device or by_mask or repeats:
            self.counts[name] += 1
        return func(*args, **(kwargs or {}))


class _Methods(TorchFunctionMode):
    def __init__(self, counts: Counter[str]) -> None:
        super().__init__()
        self.counts = counts

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = getattr(func, "__name__", "")
        if name in METHODS:
            self.counts[name] += 1
        return func(*args, **(kwargs or {}))


def _is_mask(index: object) -> bool:
    return isinstance(index, torch.Tensor) and index.dtype in (torch.bool, torch.uint8)
