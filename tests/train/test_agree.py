"""What one rank meets, all ranks leave with. Real processes."""

from pathlib import Path

import pytest
from many_ranks import on_ranks

from mcdist.agree import agreed_exit_code, first_alone
from mcdist.distributed import join_world, leave_world
from mcdist.errors import REQUEUE, HeldError
from mcdist.stop import StopWish


def _refused() -> int:
    raise HeldError("held")


def _agree(rank: int) -> None:
    world = join_world(device="cpu", timeout_s=60)
    try:
        assert first_alone(lambda: 5, world=world) == (5 if rank == 0 else None)
        with pytest.raises(HeldError if rank == 0 else SystemExit) as left:
            first_alone(_refused, world=world)
        assert rank == 0 or left.value.code == HeldError.exit_code
        for signals, code in [((0, 0), 0), ((15, 0), 143), ((0, 10), REQUEUE), ((2, 12), REQUEUE), ((15, 2), 143), ((0, 2), 130)]:
            stop = StopWish()
            stop.signal_number = signals[rank]
            assert agreed_exit_code(stop, world=world) == code
    finally:
        leave_world()


def test_an_error_of_the_first_rank_and_a_signal_of_any_end_all_ranks_alike(tmp_path: Path) -> None:
    on_ranks(2, _agree, notes=tmp_path)
