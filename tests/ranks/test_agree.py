"""What one rank meets, all ranks leave with. Real processes."""

import time
from pathlib import Path

import pytest
import torch
import torch.distributed as dist

from mcdist.distributed import World
from mcdist.errors import REQUEUE, HeldError
from mcdist.ranks.agree import agreed_exit_code, all_together, as_lost_rank, run_on_first, wait_for_first
from mcdist.ranks.join import join_world, leave_world
from mcdist.resilience.stop import StopWish
from tests.makers.many_ranks import on_ranks


def _refused() -> int:
    raise HeldError("held")


def _code_of(left: BaseException) -> object:
    assert isinstance(left, SystemExit)
    return left.code


def _agree(rank: int) -> None:
    world = join_world(device="cpu", timeout_s=60)
    try:
        assert run_on_first(lambda: 5, world=world) == (5 if rank == 0 else None)
        with pytest.raises(HeldError if rank == 0 else SystemExit) as left:
            run_on_first(_refused, world=world)
        assert rank == 0 or _code_of(left.value) == HeldError.exit_code
        assert all_together(lambda: rank + 5, world=world) == rank + 5
        with pytest.raises(HeldError if rank == 1 else SystemExit) as left:
            all_together(_refused if rank == 1 else (lambda: 5), world=world)
        assert rank == 1 or _code_of(left.value) == HeldError.exit_code
        for signals, code in [((0, 0), 0), ((15, 0), 143), ((0, 10), REQUEUE), ((2, 12), REQUEUE), ((15, 2), 143), ((0, 2), 130)]:
            stop = StopWish()
            stop.signal_number = signals[rank]
            assert agreed_exit_code(stop, world=world) == code
    finally:
        leave_world()


def test_an_error_of_the_first_rank_and_a_signal_of_any_end_all_ranks_alike(tmp_path: Path) -> None:
    on_ranks(2, _agree, notes=tmp_path)


def _slow() -> int:
    time.sleep(5)
    return 5


def _wait(rank: int) -> None:
    world = join_world(device="cpu", timeout_s=60, collective_timeout_s=2)
    try:
        assert wait_for_first(_slow, world=world) == (5 if rank == 0 else None)
        with pytest.raises(HeldError if rank == 0 else SystemExit) as left:
            wait_for_first(_refused, world=world)
        assert rank == 0 or _code_of(left.value) == HeldError.exit_code
    finally:
        leave_world()


def test_ranks_wait_for_the_first_longer_than_a_collective_may_take(tmp_path: Path) -> None:
    on_ranks(2, _wait, notes=tmp_path)


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (RuntimeError("[/src/gloo/tcp/pair.cc:561] Connection closed by peer [10.0.0.7]:21384. This is typically"), "by peer [10.0.0.7]:21384;"),
        (dist.DistBackendError("NCCL error in: ProcessGroupNCCL.cpp:1\nframe #0: c10::Error"), "NCCL error in: ProcessGroupNCCL.cpp:1;"),
        (RuntimeError("[/src/gloo/tcp/buffer.cc:81] Timed out waiting 600000ms for recv"), "another rank: Timed out waiting 600000ms"),
    ],
)
def test_a_failed_exchange_is_one_sentence(error: RuntimeError, said: str) -> None:
    lost = as_lost_rank(error, world=World(0, 2, torch.device("cpu")))
    assert lost is not None
    assert said in str(lost)
    assert "\n" not in str(lost)
    assert lost.exit_code == 7


def test_other_errors_and_those_of_a_rank_alone_are_no_lost_rank() -> None:
    assert as_lost_rank(RuntimeError("mat1 and mat2 shapes cannot be multiplied"), world=World(0, 2, torch.device("cpu"))) is None
    assert as_lost_rank(RuntimeError("gloo"), world=World(0, 1, torch.device("cpu"))) is None
