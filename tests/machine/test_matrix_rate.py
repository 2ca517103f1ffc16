"""The yardstick: a matrix product that takes longer for a larger matrix and is never free."""

import pytest
import torch

from mcdist.machine import matrix_rate


def test_the_rate_is_the_arithmetic_over_the_best_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(matrix_rate.SIDES, "cpu", 100)
    ticks = iter([0.0, 9.0, 10.0, 14.0, 20.0, 22.0, 30.0, 38.0, 40.0, 48.0, 50.0, 58.0])  # the first does not count; the best takes two seconds
    monkeypatch.setattr(matrix_rate.time, "perf_counter", lambda: next(ticks))
    assert matrix_rate.matrix_gflops(torch.device("cpu"), dtype=torch.float32) == pytest.approx(2 * 100**3 / 2 / 1e9)
