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
        name, kwargs = func.overloadpacket.__name__, kwargs or {}
        if name in OPERATORS or _leaves_device(name, args, kwargs) or _indexes_by_mask(name, args) or _repeats(name, kwargs):
            self.counts[name] += 1
        return func(*args, **kwargs)


class _Methods(TorchFunctionMode):
    def __init__(self, counts: Counter[str]) -> None:
        super().__init__()
        self.counts = counts

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = getattr(func, "__name__", "")
        if name in METHODS:
            self.counts[name] += 1
        return func(*args, **(kwargs or {}))


def _leaves_device(name: str, args: Any, kwargs: dict[str, Any]) -> bool:
    """A copy from a device to the host."""
    target = args[0] if name == "copy_" else kwargs
    source = args[1] if name == "copy_" else args[0] if name == "_to_copy" else None
    if not isinstance(source, torch.Tensor):
        return False
    device = target.device if isinstance(target, torch.Tensor) else torch.device(target.get("device") or source.device)
    return source.device.type != "cpu" and device.type == "cpu"


def _indexes_by_mask(name: str, args: Any) -> bool:
    """The number of true entries is the result's size."""
    indices = args[1] if name in ("index", "index_put", "index_put_", "_index_put_impl_") else ()
    return any(isinstance(index, torch.Tensor) and index.dtype in (torch.bool, torch.uint8) for index in indices)


def _repeats(name: str, kwargs: dict[str, Any]) -> bool:
    """The sum of the repeats is the result's size."""
    return name == "repeat_interleave" and kwargs.get("output_size") is None
