"""Ranks meet over a real store, here as threads of one process, or learn within the time given which of them are missing."""

import json
import socket
import threading
import time
from collections.abc import Iterator
from dataclasses import replace

import pytest
import torch.distributed as dist

from mcdist.errors import ConfigError, MachineError
from mcdist.ranks.place import Place
from mcdist.ranks.rendezvous import meet
from tests.makers.many_ranks import free_port


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
    assert len(got) == len(those), "a rank ended in an error of another kind"
    return got


def test_ranks_that_meet_share_a_store() -> None:
    stores = meet_all(places(3))
    stores[1].set("word", "heard by all")  # type: ignore[attr-defined]
    assert {stores[rank].get("word") for rank in range(3)} == {b"heard by all"}  # type: ignore[attr-defined]


@pytest.fixture
def served() -> Iterator[tuple[dist.TCPStore, list[Place]]]:
    """A store that somebody else serves, as torchrun does, and the places of four ranks at it."""
    store = dist.TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False)
    yield store, [replace(place, port=store.port, store_is_served=True) for place in places(4)]


def wait_for_key(store: dist.TCPStore, key: str) -> None:
    until_s = time.monotonic() + 60
    while not store.check([key]):
        assert time.monotonic() < until_s, f"{key} does not appear"
        time.sleep(0.02)


def test_every_rank_that_came_names_those_that_did_not(served: tuple[dist.TCPStore, list[Place]]) -> None:
    store, those = served
    got: dict[int, object] = {}
    waiting = threading.Thread(target=lambda: got.update({2: meet_all([those[2]], timeout_s=100)[0]}), daemon=True)
    waiting.start()
    wait_for_key(store, "mcdist/a test/rank/2")
    got[0] = meet_all([those[0]], timeout_s=1)[0]
    waiting.join(timeout=120)
    for rank in (0, 2):
        assert isinstance(got[rank], MachineError)
        assert f"rank {rank} on " in str(got[rank])
        assert "2 of 4 ranks did not come" in str(got[rank])
        assert "within 1 s: rank 1, 3; those that came run on" in str(got[rank])


def test_a_rank_that_has_waited_long_enough_sees_for_itself_who_is_missing(served: tuple[dist.TCPStore, list[Place]]) -> None:
    _, those = served
    error = meet_all([those[3]], timeout_s=1)[0]
    assert isinstance(error, MachineError)
    assert "3 of 4 ranks did not come" in str(error)
    assert "within 1 s: rank 0, 1, 2; those" in str(error)


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


def test_a_node_without_gpus_among_others_is_named() -> None:
    for error in meet_all(places(3), gpus={0: "GPU-a", 2: "GPU-c"}).values():
        assert isinstance(error, ConfigError)
        assert "2 of 3 ranks have a GPU, rank 1 on" in str(error)


def test_a_rank_of_an_earlier_attempt_meets_nobody(served: tuple[dist.TCPStore, list[Place]]) -> None:
    store, those = served
    store.set("mcdist/an earlier test/verdict", json.dumps({}))
    for rank in range(3):
        store.set(f"mcdist/an earlier test/rank/{rank}", json.dumps(["a host", ""]))
    assert "3 of 4 ranks did not come" in str(meet_all([those[0]], timeout_s=1)[0])
