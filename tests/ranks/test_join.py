"""Joining: a launcher's environment that is half set, ranks that do not come and networks that are not there are each named."""

import pytest

from mcdist.errors import ConfigError, MachineError
from mcdist.ranks.join import join_world
from tests.makers.many_ranks import free_port


def test_a_half_set_environment_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RANK", "0")
    for name in ("WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(ConfigError, match="has RANK but not MASTER_ADDR, MASTER_PORT, WORLD_SIZE"):
        join_world(device="cpu", timeout_s=1)


def test_ranks_that_do_not_come_are_named_after_the_time_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"RANK": "0", "WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free_port())}.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(MachineError, match="1 of 2 ranks did not come .* within 2 s: rank 1"):
        join_world(device="cpu", timeout_s=2)


def test_an_interface_that_is_not_there_is_named_beside_those_that_are(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"RANK": "0", "WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free_port())}.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(ConfigError, match="run.network_interface=ib7: .* no such network interface; it has .*lo"):
        join_world(device="cpu", timeout_s=2, network_interface="ib7")
