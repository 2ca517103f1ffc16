"""What a rank exchanges in a step: calls and bytes of each collective by what it is for, and the bytes that really passed its sockets."""

import os
import socket
import struct
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any
from unittest.mock import patch

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from mcdist.distributed import SumApart, World
from mcdist.train import step as step_module
from mcdist.train.interval import Interval
from mcdist.train.state import TrainState

PURPOSES = ("gradients", "prototypes", "pixel counts", "stop flag", "log step", "norm statistics", "shuffled images")
TCP_BYTES_RECEIVED = 128
"""Where Linux's struct tcp_info keeps tcpi_bytes_received."""


class Traffic(TorchDispatchMode):
    """Counts while it is entered. A collective counts for the innermost purpose under way; bytes are those of its largest operand list, which is
    what an all-reduce reduces, and what an all-gather brings to a rank. Sees the backward pass where it runs on this thread, as on a CPU.
    """

    def __init__(self) -> None:
        super().__init__()
        self.calls: Counter[str] = Counter()
        self.num_bytes: Counter[str] = Counter()
        self.purposes: list[str] = ["other"]

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func.namespace == "c10d":
            operands = [argument for argument in args if isinstance(argument, (torch.Tensor, list))]
            self.calls[self.purposes[-1]] += 1
            self.num_bytes[self.purposes[-1]] += max((_num_bytes(operand) for operand in operands), default=0)
        return func(*args, **(kwargs or {}))

    def within(self, function: Callable[..., Any], *, purpose: str) -> Callable[..., Any]:
        """`function`, whose collectives count for `purpose`."""

        def counted(*arguments: Any, **options: Any) -> Any:
            self.purposes.append(purpose)
            try:
                return function(*arguments, **options)
            finally:
                self.purposes.pop()

        return counted


@contextmanager
def traffic(state: TrainState) -> Iterator[Traffic]:
    """Counts what the step and the loop exchange, by wrapping what they call: no copy of them can drift away."""
    seen = Traffic()
    places: list[tuple[Any, str, str]] = [
        (state.engine, "backward", "gradients"),
        (step_module, "gather", "prototypes"),
        (step_module, "count_pixels", "pixel counts"),
        (World, "begin_any", "stop flag"),
        (Interval, "read", "log step"),
        (SumApart, "__call__", "norm statistics"),
        (World, "permute_rows", "shuffled images"),
    ]
    with ExitStack() as stack:
        for owner, name, purpose in places:
            stack.enter_context(patch.object(owner, name, seen.within(getattr(owner, name), purpose=purpose)))
        stack.enter_context(seen)
        yield seen


def wire_bytes() -> int | None:
    """Bytes that this process's TCP connections have received so far, as Linux counts them; None elsewhere."""
    total = 0
    try:
        descriptors = [int(path.name) for path in Path("/proc/self/fd").iterdir()]
    except OSError:
        return None
    for descriptor in descriptors:
        try:
            with socket.socket(fileno=os.dup(descriptor)) as connection:
                if connection.family not in (socket.AF_INET, socket.AF_INET6) or connection.type != socket.SOCK_STREAM:
                    continue
                info = connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, TCP_BYTES_RECEIVED + 8)
                total += struct.unpack_from("Q", info, TCP_BYTES_RECEIVED)[0]
        except (OSError, struct.error):
            continue
    return total


def needed_bytes(state: TrainState, *, prototypes_bytes: int) -> float:
    """What a rank must receive in a step, at least: the gradients' ring all-reduce, and the other ranks' prototypes."""
    num_ranks = state.engine.world.num_ranks
    gradients_bytes = sum(parameter.numel() * parameter.element_size() for parameter in state.query.parameters() if parameter.requires_grad)
    return (num_ranks - 1) / num_ranks * (2 * gradients_bytes + prototypes_bytes)


def _num_bytes(operand: Any) -> int:
    return sum(tensor.numel() * tensor.element_size() for tensor in tree_leaves(operand) if isinstance(tensor, torch.Tensor))
