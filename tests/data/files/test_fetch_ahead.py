import time
from collections.abc import Callable

from mcdist.data.files.ahead import FetchAhead
from mcdist.errors import MachineError


def test_fetching_ahead_stays_a_window_ahead_and_fetches_a_shard_once_a_window() -> None:
    fetched: list[int] = []
    ahead = FetchAhead(iter([[0], [0, 1], [0], [1], [2], [3], [4]]), ahead=3, fetch=fetched.append)
    ahead.start()
    _until(lambda: fetched == [0, 1])
    for _ in range(2):
        ahead.advance()
    _until(lambda: fetched == [0, 1, 2])
    ahead.stop()
    assert fetched == [0, 1, 2]


def test_what_cannot_be_fetched_ahead_is_left_to_who_needs_it() -> None:
    tried: list[int] = []

    def fail(shard: int) -> None:
        tried.append(shard)
        raise MachineError("the network is down")

    ahead = FetchAhead(iter([[0], [1]]), ahead=2, fetch=fail)
    ahead.start()
    _until(lambda: tried == [0, 1])
    ahead.stop()


def _until(holds: Callable[[], bool]) -> None:
    deadline_s = time.monotonic() + 10
    while not holds():
        assert time.monotonic() < deadline_s
        time.sleep(0.01)
