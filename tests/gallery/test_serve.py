"""Serving: a port in use, and what is said where no browser can be opened."""

import socket
from typing import Any

import pytest

from mcdist.errors import MachineError

serve = pytest.importorskip("mcdist.gallery.serve", reason="the extra `view` is not installed")


def test_a_port_in_use_is_one_sentence_and_zero_is_any_that_is_free():
    taken = serve.listen(0)
    port = taken.getsockname()[1]
    with pytest.raises(MachineError, match=f"port {port} is in use"):
        serve.listen(port)
    assert taken.getsockname()[0] == "127.0.0.1"
    taken.close()


async def nothing(scope: Any, receive: Any, send: Any) -> None:
    """An application that is never called."""


def test_the_address_is_said_with_its_token_and_without_a_display_how_to_reach_it(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv("DISPLAY", raising=False)
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    monkeypatch.setattr(serve.sys, "platform", "linux")
    monkeypatch.setattr(serve.uvicorn.Server, "run", lambda self, sockets: None)
    said: list[str] = []
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port = listener.getsockname()[1]
        for _ in range(2):
            serve.serve(nothing, listener=listener, open_browser=True, say=said.append)
    addresses = [line.removeprefix("open ") for line in said if line.startswith("open ")]
    assert all(address.startswith(f"http://127.0.0.1:{port}/?token=") for address in addresses)
    assert len(set(addresses)) == 2, "each start has a token of its own"
    assert said.count("closed; every name is saved") == 2
    assert f"ssh -N -L {port}:127.0.0.1:{port}" in said[2]
