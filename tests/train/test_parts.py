"""Parts of a step: what torch counts is right for grouped convolutions too, a stopwatch that is off changes nothing, and everything is put back."""

from types import SimpleNamespace

import pytest
import torch
from torch import nn

from mcdist.train.parts import Stopwatch, _replaced, watched_batches

CPU = torch.device("cpu")


@pytest.mark.parametrize("groups", [1, 4, 8])
@pytest.mark.parametrize("needs_input", [True, False])
def test_gflop_of_a_convolution_forward_and_backward(groups: int, needs_input: bool) -> None:
    convolution, photo = nn.Conv2d(8, 8, 3, padding=1, groups=groups), torch.randn(2, 8, 16, 16, requires_grad=needs_input)
    watch = Stopwatch(CPU)
    forward = watch.around(convolution, part="forward")
    backward = watch.around(lambda found: found.sum().backward(), part="backward")
    counted = watch.count_flop(lambda: backward(forward(photo)))
    wanted = 2 * (2 * 16 * 16) * 8 * (8 // groups) * 9  # two per multiply-add: places, channels out, channels in, kernel
    assert round(1e9 * counted["forward"]) == wanted
    assert round(1e9 * counted["backward"]) == wanted * (2 if needs_input else 1)


def test_only_what_runs_under_the_stopwatch_is_timed() -> None:
    watch = Stopwatch(CPU)
    double = watch.around(lambda number: 2 * number, part="double")
    assert double(3) == 6
    assert not watch.part_ms
    whole_ms, parts = watch.time_parts(lambda: [double(1), double(2)])
    assert list(parts) == ["double"]
    assert 0 < parts["double"] <= whole_ms
    assert watch.time_parts(lambda: None)[1] == {}
    with pytest.raises(ZeroDivisionError):
        watch.time_parts(lambda: 1 // 0)
    double(3)
    assert not watch.part_ms


def test_batches_come_through_as_they_are_to_the_last() -> None:
    assert list(watched_batches(iter([1, 2, 3]), watch=Stopwatch(CPU))) == [1, 2, 3]


def test_what_was_replaced_is_put_back_whether_the_object_had_it_or_its_class() -> None:
    own, engine = SimpleNamespace(step=1), Stopwatch(CPU)
    with _replaced(own, "step", 2), _replaced(engine, "time_whole", 3):
        assert (own.step, engine.time_whole) == (2, 3)
    assert own.step == 1
    assert "time_whole" not in vars(engine)
