"""The faster of two ways is found once a shape and machine, kept, and never a reason to fail; a dilated depthwise convolution takes it."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from torch import Tensor

from mcdist.model.backbones import dilation, fastest
from mcdist.model.backbones.dilation import InterleavedConv2d
from mcdist.model.backbones.fastest import NUM_RUNS, other_is_faster


class Clock:
    """Seconds that pass only inside the ways."""

    def __init__(self) -> None:
        self.now_s, self.calls = 0.0, 0

    def takes(self, seconds: float) -> Callable[[], None]:
        def way() -> None:
            self.calls += 1
            self.now_s += seconds

        return way


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Clock]:
    """A process that knows nothing yet, with a cache folder of its own."""
    made = Clock()
    monkeypatch.setenv("MCDIST_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setattr(fastest, "_known", {})
    monkeypatch.setattr(fastest.time, "perf_counter", lambda: made.now_s)
    yield made


def forget(monkeypatch: pytest.MonkeyPatch) -> None:
    """As another process would start."""
    monkeypatch.setattr(fastest, "_known", {})


def test_the_faster_way_is_measured_once_and_remembered_by_the_next_process(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    assert other_is_faster("a shape", usual=clock.takes(3), other=clock.takes(1))
    assert clock.calls == 2 * (NUM_RUNS + 1)
    forget(monkeypatch)
    assert other_is_faster("a shape", usual=clock.takes(1), other=clock.takes(3)), "kept, not measured"
    assert not other_is_faster("another shape", usual=clock.takes(1), other=clock.takes(3))
    assert clock.calls == 4 * (NUM_RUNS + 1)
    (path,) = (Path(fastest.cache_folder() or "")).glob("fastest-*.json")
    assert json.loads(path.read_text()) == {"a shape": True, "another shape": False}


def test_a_tie_is_the_usual_way(clock: Clock) -> None:
    assert not other_is_faster("a shape", usual=clock.takes(1.05), other=clock.takes(1))


@pytest.mark.parametrize("content", ["{", "[]", '{"a shape": "yes"}', '{"a shape": 1}'])
def test_what_is_no_such_file_is_measured_over(content: str, clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    path = fastest._path()
    assert path is not None
    path.write_text(content)
    assert other_is_faster("a shape", usual=clock.takes(2), other=clock.takes(1))
    assert json.loads(path.read_text()) == {"a shape": True}


@pytest.mark.parametrize("folder", [None, Path("/proc/none")])
def test_a_cache_folder_that_cannot_be_used_means_measuring_again(folder: Path | None, clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fastest, "cache_folder", lambda: folder)
    assert other_is_faster("a shape", usual=clock.takes(2), other=clock.takes(1))
    forget(monkeypatch)
    assert not other_is_faster("a shape", usual=clock.takes(1), other=clock.takes(2))


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The shapes that a convolution asked about; the dilated kernel always wins, once both ways have run."""
    shapes: list[str] = []

    def wins(shape: str, *, usual: Callable[[], object], other: Callable[[], object]) -> bool:
        usual(), other()
        shapes.append(shape)
        return True

    monkeypatch.setattr(dilation, "other_is_faster", wins)
    return shapes


def convolution() -> InterleavedConv2d:
    return InterleavedConv2d(6, 6, 3, padding=2, dilation=2, groups=6)


def test_both_ways_are_equal_and_measuring_leaves_no_trace(asked: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    made, x = convolution(), torch.randn(2, 6, 8, 8, requires_grad=True)
    state = torch.get_rng_state()
    dilated = made(x)
    assert asked == ["depthwise 6x8x8 kernel 3 dilation 2 contiguous with backward"]
    assert made.weight.grad is None and x.grad is None
    assert torch.equal(state, torch.get_rng_state())
    monkeypatch.setattr(dilation, "other_is_faster", lambda shape, **ways: False)
    torch.testing.assert_close(dilated, made(x))
    with torch.inference_mode():
        torch.testing.assert_close(made(x.detach()), dilated.detach())


def test_inference_is_asked_about_apart(asked: list[str]) -> None:
    with torch.inference_mode():
        convolution()(torch.randn(1, 6, 4, 8).contiguous(memory_format=torch.channels_last))
    assert asked == ["depthwise 6x4x8 kernel 3 dilation 2 channels_last"]


@pytest.mark.parametrize("how", ["deterministic", "float64", "autocast", "empty", "meta"])
def test_elsewhere_nothing_is_measured(how: str, asked: list[str]) -> None:
    made, x = convolution(), torch.randn(0 if how == "empty" else 2, 6, 8, 8)
    before = torch.are_deterministic_algorithms_enabled()
    try:
        torch.use_deterministic_algorithms(how == "deterministic")
        if how == "float64":
            made, x = made.double(), x.double()
        if how == "meta":
            made, x = made.to("meta"), x.to("meta")
        with torch.autocast("cpu", torch.bfloat16, enabled=how == "autocast"):
            found: Tensor = made(x)
    finally:
        torch.use_deterministic_algorithms(before)
    assert found.shape == x.shape and asked == []
