"""How the engine compiles: the mode it is given, and where it tells CUDA graphs that a step ends."""

from typing import Any

import pytest
import torch
from torch import nn

from mcdist.train.step import train_step
from tests.train.step_case import SETTINGS, make_batch, make_state


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What torch is asked for, in order: nothing is compiled, an encoder's forward pass is noted."""
    noted: list[str] = []

    def compiled(module: nn.Module, *, mode: str) -> nn.Module:
        noted.append(f"compile {mode}")
        module.register_forward_hook(lambda *_: noted.append("forward"))
        return module

    monkeypatch.setattr(torch, "compile", compiled)
    monkeypatch.setattr(torch.compiler, "cudagraph_mark_step_begin", lambda: noted.append("mark"))
    return noted


def two_steps(**options: Any) -> None:
    state = make_state(**options)
    for seed in (0, 1):
        train_step(state, [make_batch(1, seed=seed), make_batch(1, seed=seed + 2)], lr=0.1, settings=SETTINGS)


def test_all_micro_batches_of_a_step_lie_between_two_marks(asked: list[str]) -> None:
    two_steps(compile_mode="reduce-overhead")
    step = ["forward"] * 4  # two micro-batches, key and query
    assert asked == ["compile reduce-overhead", "compile reduce-overhead", "mark", *step, "mark", *step, "mark"]


def test_gradients_are_gone_where_a_step_is_marked(asked: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    state = make_state(compile_mode="reduce-overhead")
    left: list[int] = []
    monkeypatch.setattr(
        torch.compiler, "cudagraph_mark_step_begin", lambda: left.append(sum(parameter.grad is not None for parameter in state.query.parameters()))
    )
    train_step(state, [make_batch(1), make_batch(1, seed=1)], lr=0.1, settings=SETTINGS)
    assert left == [0], "a graph may write over what it returned before"


def test_an_eager_engine_asks_the_compiler_for_nothing(asked: list[str]) -> None:
    two_steps(compile_mode=None)
    assert asked == []
