"""A process of its own for Triton, which decides once, when it is imported, whether it interprets kernels on the CPU or compiles them."""

import io
import multiprocessing
import os
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from importlib import import_module
from typing import Any

import torch


@contextmanager
def triton_process(*, interpret: bool, check_shapes: bool) -> Iterator[Callable[..., Any]]:
    """A function `call(task, **arguments)` that runs `triton_tasks.<task>` over there; arguments and result are tensors and plain values."""
    settings = (interpret, check_shapes)
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn"), initializer=_prepare, initargs=settings) as pool:
        yield lambda task, **arguments: _unpacked(pool.submit(_perform, task, _packed(arguments)).result())


def _prepare(interpret: bool, check_shapes: bool) -> None:
    os.environ["TRITON_INTERPRET"] = "1" if interpret else "0"
    torch.set_num_threads(1)
    if check_shapes:
        import_module("jaxtyping").install_import_hook("mcdist", "beartype.beartype")


def _perform(task: str, arguments: bytes) -> bytes:
    return _packed(getattr(import_module("tests.ops.kernels.triton_tasks"), task)(**_unpacked(arguments)))


def _packed(value: Any) -> bytes:
    buffer = io.BytesIO()
    torch.save(value, buffer)
    return buffer.getvalue()


def _unpacked(data: bytes) -> Any:
    return torch.load(io.BytesIO(data), weights_only=True)
