"""Ranks meet over a real store, here as threads of one process, or learn within the time given which of them are missing."""

import socket
import threading
import time
from dataclasses import replace

import pytest

from mcdist.errors import ConfigError, MachineError
from mcdist.place import Place
from mcdist.rendezvous import meet


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def places(num_ranks: int) -> list[Place]:
    port = free_port()
    return [Place(rank, num_ranks, rank, num_ranks, "127.0.0.1", port, "environment", 0, "a test") for rank in range(num_ranks)]


def meet_all(those: list[Place], *, timeout_s: int = 60, gpus: dict[int, str] | None = None) -> dict[int, object]:
    """What each of `those` got, in threads: a store, or the error."""
    got: dict[int, object] = {}

    def one(index: int, place: Place) -> None:
        try:
            got[index] = meet(place, gpu=(gpus or {}).get(place.rank, ""), timeout_s=timeout_s)
        except (ConfigError, MachineError) as error:
            got[index] = error

    threads = [threading.Thread(target=one, args=item, daemon=True) for item in enumerate(those)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=120)
        assert not thread.is_alive(), "a rank hangs in its rendezvous"
    return got


def test_ranks_that_meet_share_a_store() -> None:
    stores = meet_all(places(3))
    stores[1].set("word", "heard by all")  # type: ignore[attr-defined]
    assert {stores[rank].get("word") for rank in range(3)} == {b"heard by all"}  # type: ignore[attr-defined]


def test_every_rank_that_came_names_those_that_did_not() -> None:
    those = places(4)
    got = meet_all([those[0], those[2]], timeout_s=3)
    for error in got.values():
        assert isinstance(error, MachineError)
        assert "2 of 4 ranks did not come" in str(error)
        assert "within 3 s: rank 1, 3; those that came run on" in str(error)
        assert socket.gethostname() in str(error) or "node" in str(error)


def test_where_rank_0_is_missing_the_others_say_so() -> None:
    (error,) = meet_all(places(2)[1:], timeout_s=1).values()
    assert isinstance(error, MachineError)
    assert "rank 1 of 2" in str(error)
    assert "rank 0 is missing, nobody answered at 127.0.0.1" in str(error)


def test_an_address_that_does_not_resolve_is_said_and_not_waited_for() -> None:
    began_s = time.monotonic()
    with pytest.raises(MachineError, match="the address of rank 0, no-such-host.invalid, does not resolve"):
        meet(replace(places(2)[1], address="no-such-host.invalid"), gpu="", timeout_s=600)
    assert time.monotonic() - began_s < 300


def test_a_port_in_use_is_one_sentence() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        with pytest.raises(MachineError, match="rank 0 cannot listen at 127.0.0.1:.*for the other 1 ranks.*if the port is in use"):
            meet(replace(places(2)[0], port=int(taken.getsockname()[1])), gpu="", timeout_s=5)


def test_a_rank_started_twice_is_told() -> None:
    first, second = places(2)
    got = meet_all([first, second, second])
    assert sum(isinstance(one, ConfigError) and "rank 1 was started twice" in str(one) for one in got.values()) == 1
    assert sum(not isinstance(one, Exception) for one in got.values()) == 2, "the others met"


def test_two_ranks_on_one_gpu_are_refused_on_every_rank() -> None:
    got = meet_all(places(3), gpus={0: "GPU-a", 1: "GPU-b", 2: "GPU-a"})
    for error in got.values():
        assert isinstance(error, ConfigError)
        assert "ranks 0 and 2 both run on the GPU GPU-a" in str(error)
        assert "3 ranks there share 2 GPUs" in str(error)


def test_a_rank_of_an_earlier_attempt_meets_nobody() -> None:
    first, second = places(2)
    got = meet_all([first, replace(second, session="an earlier test")], timeout_s=3)
    assert "did not come" in str(got[0])
    assert "did not come" in str(got[1])
