"""Saver: a checkpoint is copied at the step and written by a thread, while training goes on. At most one is being written at any time."""

import threading
from collections.abc import Callable, Mapping

import torch
from torch import Tensor

Write = Callable[[Mapping[str, Tensor]], None]


class Saver:
    """Copies tensors to host memory that it keeps (pinned where the tensors are on a GPU; as much memory as a checkpoint's size) and has them written.

    A copy from a GPU is queued behind the step and before the next one, and nobody waits for it but the thread that writes.
    """

    def __init__(self, *, asynchronous: bool) -> None:
        """Without `asynchronous` a save returns when it is written."""
        self.asynchronous = asynchronous
        self._copies: dict[str, Tensor] = {}
        self._thread: threading.Thread | None = None
        self._error: Exception | None = None

    @property
    def has_failed(self) -> bool:
        """Whether a write ended with an error; `wait` raises it. Known as soon as it happened."""
        return self._error is not None

    def save(self, tensors: Mapping[str, Tensor], *, write: Write) -> None:
        """Take `tensors` as they are now and call `write` with them. Waits first for the save before this one; after an error nothing is written any more."""
        self._join()
        if self.has_failed:
            return
        if not self.asynchronous:
            self._run(write, tensors, None)
            return
        copied = self._copy(tensors)
        self._thread = threading.Thread(target=self._run, args=(write, dict(self._copies), copied), name="checkpoint", daemon=True)
        self._thread.start()

    def wait(self) -> None:
        """Return when everything is written; raises the error of a write."""
        self._join()
        if self._error is not None:
            raise self._error

    def _join(self) -> None:
        if self._thread is not None:
            self._thread.join()
            self._thread = None

    def _run(self, write: Write, tensors: Mapping[str, Tensor], copied: torch.cuda.Event | None) -> None:
        try:
            if copied is not None:
                copied.synchronize()
            write(tensors)
        except Exception as error:  # raised by `wait`, in the thread that trains
            self._error = error

    def _copy(self, tensors: Mapping[str, Tensor]) -> torch.cuda.Event | None:
        """Into the copies of the last save, which nobody reads any more. The event marks when those from a GPU have arrived; None where all are on the host."""
        self._copies = {name: self._room_for(tensor, name=name) for name, tensor in tensors.items()}
        for name, tensor in tensors.items():
            self._copies[name].copy_(tensor.detach(), non_blocking=True)
        if not any(tensor.is_cuda for tensor in tensors.values()):
            return None
        copied = torch.cuda.Event()
        copied.record()
        return copied

    def _room_for(self, tensor: Tensor, *, name: str) -> Tensor:
        found = self._copies.get(name)
        if found is not None and (found.shape, found.dtype) == (tensor.shape, tensor.dtype):
            return found
        return torch.empty(tensor.shape, dtype=tensor.dtype, pin_memory=tensor.is_cuda)
