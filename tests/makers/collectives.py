"""Counts what a rank exchanges, for tests: calls and bytes by operator, as they pass torch's dispatcher."""

from collections import Counter
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves


class Collectives(TorchDispatchMode):
    """`with Collectives() as seen:` then `seen.counts` by operator and `seen.num_bytes` of all they were given; sees the backward pass on a CPU too."""

    def __init__(self) -> None:
        super().__init__()
        self.counts: Counter[str] = Counter()
        self.num_bytes: Counter[str] = Counter()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func.namespace == "c10d":
            name = func.overloadpacket.__name__
            self.counts[name] += 1
            self.num_bytes[name] += sum(tensor.numel() * tensor.element_size() for tensor in tree_leaves(args) if isinstance(tensor, torch.Tensor))
        return func(*args, **(kwargs or {}))
