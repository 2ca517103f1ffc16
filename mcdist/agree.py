"""Agree: what one rank meets, all ranks leave with, after the same step and with the same exit code. Nobody waits for a rank that left."""

import signal
from collections.abc import Callable
from typing import TypeVar

from mcdist.distributed import World
from mcdist.errors import REQUEUE, McdistError
from mcdist.stop import StopWish

Result = TypeVar("Result")


def first_alone(do: Callable[[], Result], *, world: World) -> Result | None:
    """`do` on rank 0 only; None on the others. An error of rank 0 ends all ranks with its exit code and is told once."""
    result, failure = None, None
    if world.is_first:
        try:
            result = do()
        except McdistError as error:
            failure = error
    codes = world.gather_texts([] if failure is None else [str(failure.exit_code)])
    if failure is not None:
        raise failure
    if codes:
        raise SystemExit(int(codes[0]))
    return result


def agreed_exit_code(stop: StopWish, *, world: World) -> int:
    """Of the exit codes that the ranks' signals ask for, the weightiest. A signal may have reached some ranks only."""
    for code in (REQUEUE, 128 + signal.SIGTERM, 128 + signal.SIGINT):
        if world.begin_any(stop.exit_code == code)():
            return code
    return 0
