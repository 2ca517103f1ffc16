"""Parts: how long each part of the training step takes. The step itself is measured, so no copy of it can drift away."""

import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from typing import Any

import torch
from torch.utils.flop_counter import FlopCounterMode, conv_flop_count

from mcdist.train import loop as loop_module
from mcdist.train import step as step_module
from mcdist.train.state import TrainState
from mcdist.train.step import StepSettings

WAITING = "waiting for data"
FINISH = "copy and colours"
KEY = "key encoder, forward"
QUERY = "query encoder, forward"
BACKWARD = "query encoder, backward"
OPTIMIZER = "optimizer"
AVERAGE = "moving average"
POOLING = "pooling of objects"
BANK = "memory bank"


class Stopwatch:
    """Adds up the time of each part, from an idle device to an idle device. While it is off, parts run as if it were not there."""

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self.part_ms: defaultdict[str, float] = defaultdict(float)
        self.part_gflop: defaultdict[str, float] = defaultdict(float)
        self.counter: FlopCounterMode | None = None
        self._is_on = False

    def around(self, function: Callable[..., Any], *, part: str) -> Callable[..., Any]:
        """`function`, timed while the stopwatch runs."""

        def timed(*arguments: Any, **options: Any) -> Any:
            if not self._is_on:
                return function(*arguments, **options)
            flop_before = self._flop()
            self._wait()
            began_s = time.perf_counter()
            result = function(*arguments, **options)
            self._wait()
            self.part_ms[part] += 1000 * (time.perf_counter() - began_s)
            self.part_gflop[part] += (self._flop() - flop_before) / 1e9
            return result

        return timed

    def time_parts(self, take_step: Callable[[], object]) -> tuple[float, dict[str, float]]:
        """(milliseconds of one step, of each part of it)."""
        self.part_ms.clear()
        whole_ms = self.time_whole(lambda: self._running(take_step))
        return whole_ms, dict(self.part_ms)

    def time_whole(self, take_step: Callable[[], object]) -> float:
        """Milliseconds of one step that nobody interrupts."""
        self._wait()
        began_s = time.perf_counter()
        take_step()
        self._wait()
        return 1000 * (time.perf_counter() - began_s)

    def count_flop(self, take_step: Callable[[], object]) -> dict[str, float]:
        """GFLOP of each part of one step: convolutions and matrix products, as torch counts them; operators of mcdist are not among them."""
        self.part_gflop.clear()
        self.counter = FlopCounterMode(display=False, custom_mapping={torch.ops.aten.convolution_backward: _convolution_backward_flop})
        try:
            with self.counter:
                self._running(take_step)
        finally:
            self.counter = None
        return dict(self.part_gflop)

    def _running(self, take_step: Callable[[], object]) -> None:
        self._is_on = True
        try:
            take_step()
        finally:
            self._is_on = False

    def _wait(self) -> None:
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)

    def _flop(self) -> int:
        return self.counter.get_total_flops() if self.counter else 0


@contextmanager
def watched_parts(state: TrainState) -> Iterator[Stopwatch]:
    """A stopwatch around everything that a training step calls, to the end of the context. Losses are added by `watched_terms`."""
    watch = Stopwatch(state.world.device)
    places: list[tuple[Any, str, str]] = [
        (loop_module, "finish", FINISH),
        (step_module, "follow", AVERAGE),
        (state.engine, "forward_key", KEY),
        (step_module, "mask_pool", POOLING),
        (state.engine, "forward", QUERY),
        (state.engine, "backward", BACKWARD),
        (state.engine, "step", OPTIMIZER),
        (state.bank, "enqueue", BANK),
    ]
    with ExitStack() as stack:
        for owner, name, part in places:
            stack.enter_context(_replaced(owner, name, watch.around(getattr(owner, name), part=part)))
        yield watch


def watched_terms(settings: StepSettings, *, watch: Stopwatch) -> StepSettings:
    """The same settings, each term of the loss a part of its own."""
    return replace(settings, terms=tuple(replace(term, function=watch.around(term.function, part=loss_part(term.name))) for term in settings.terms))


def watched_batches(batches: Iterator[Any], *, watch: Stopwatch) -> Iterator[Any]:
    """The same batches, what is waited for each a part."""
    take = watch.around(lambda: next(batches, None), part=WAITING)
    while (batch := take()) is not None:
        yield batch


def loss_part(name: str) -> str:
    """The part of a term of the loss."""
    return f"loss: {name}"


@contextmanager
def _replaced(owner: Any, name: str, value: Any) -> Iterator[None]:
    """`owner.name` is `value` to the end of the context: of a module, or of one object."""
    missing = object()
    before = vars(owner).get(name, missing)
    setattr(owner, name, value)
    try:
        yield
    finally:
        if before is missing:
            delattr(owner, name)
        else:
            setattr(owner, name, before)


def _convolution_backward_flop(grad_shape: Any, x_shape: Any, w_shape: Any, *others: Any, out_shape: Any) -> int:
    """As many as the forward pass for each of the two gradients that are asked for. torch's own formula forgets the groups of a depthwise convolution."""
    transposed, output_mask = others[4], others[7]
    return conv_flop_count(x_shape, w_shape, grad_shape, transposed=transposed) * sum(output_mask[:2])
