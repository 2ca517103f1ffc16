"""Agree: when one rank fails or is asked to stop, all ranks leave after the same step and with the same exit code."""

import re
import signal
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TypeVar, cast

import torch.distributed as dist

from mcdist.distributed import World
from mcdist.errors import REQUEUE, McdistError, RankLostError
from mcdist.resilience.stop import StopWish

COLLECTIVE_WORDS = ("gloo", "NCCL", "Connection closed by peer", "Connection reset by peer")
"""Gloo's errors are plain RuntimeErrors."""

POLL_S = 0.2
"""Between two looks of the ranks that wait for rank 0."""

Result = TypeVar("Result")


def run_on_first(do: Callable[[], Result], *, world: World) -> Result | None:
    """The result of `do`, called on rank 0 only; None on the others. An error of rank 0 ends all ranks with its exit code and is printed once."""
    return all_together(lambda: do() if world.is_first else None, world=world)


def wait_for_first(do: Callable[[], Result], *, world: World) -> Result | None:
    """`run_on_first` for what may take longer than a collective may: while rank 0 does it in a thread, the ranks exchange a word a few times a second."""
    if world.num_ranks == 1:
        return do()
    with ThreadPoolExecutor(max_workers=1) as executor:
        pending = executor.submit(do) if world.is_first else None
        while world.begin_any(pending is not None and not pending.done())():
            time.sleep(POLL_S)
        return run_on_first(lambda: pending.result() if pending is not None else do(), world=world)


def all_together(do: Callable[[], Result], *, world: World) -> Result:
    """`do` on every rank; returns when all have done it. An error of any rank ends all of them, the others with its exit code."""
    result, failure = None, None
    try:
        result = do()
    except McdistError as error:
        failure = error
    codes = world.gather_texts([] if failure is None else [str(failure.exit_code)])
    if failure is not None:
        raise failure
    if codes:
        raise SystemExit(int(codes[0]))
    return cast(Result, result)


def agreed_exit_code(stop: StopWish, *, world: World) -> int:
    """Of the exit codes that the ranks' signals ask for, the one that comes first in `mcdist.resilience.stop`. A signal may have reached some ranks only."""
    for code in (REQUEUE, 128 + signal.SIGTERM, 128 + signal.SIGINT):
        if world.begin_any(stop.exit_code == code)():
            return code
    return 0


@contextmanager
def lost_ranks_explained(*, world: World) -> Iterator[None]:
    """A context in which a collective that fails raises RankLostError, whose sentence names the rank."""
    try:
        yield
    except RuntimeError as error:
        if lost := as_lost_rank(error, world=world):
            raise lost from error
        raise


def as_lost_rank(error: RuntimeError, *, world: World) -> RankLostError | None:
    """What a failed collective means, in one sentence; None where the error is of another kind. The libraries' own text is pages of C++."""
    said = re.sub(r"^\[[^\]]*:\d+\] *", "", str(error).strip()).partition("\n")[0].partition(". ")[0]
    if world.num_ranks == 1 or not (isinstance(error, dist.DistError) or any(word in str(error) for word in COLLECTIVE_WORDS)):
        return None
    return RankLostError(
        f"rank {world.rank} of {world.num_ranks} lost touch with another rank: {said[:300]}; that rank died, hangs or was cut off, see its own output; "
        "the last checkpoint is intact: the same command continues from it"
    )
