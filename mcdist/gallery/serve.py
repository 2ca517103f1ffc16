"""Serve: the page on this machine's loopback, until Ctrl-C."""

import errno
import os
import secrets
import socket
import sys
import tempfile
import threading
import webbrowser
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from html import escape
from pathlib import Path
from typing import Any

import uvicorn

from mcdist.errors import MachineError
from mcdist.gallery.guard import Guard

HOST = "127.0.0.1"
SHUTDOWN_S = 2


def listen(port: int) -> socket.socket:
    """A socket that listens on loopback at `port`, or at a free one for 0.

    Raises:
        MachineError: the port is in use, or may not be used.
    """
    listener = socket.socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((HOST, port))
        listener.listen(128)
    except OSError as error:
        listener.close()
        why = "is in use, perhaps by another mcdist view" if error.errno == errno.EADDRINUSE else f"cannot be used ({error.strerror})"
        raise MachineError(f"port {port} {why}; choose another one with --port, or --port 0 for any that is free") from error
    return listener


def serve(app: Any, *, listener: socket.socket, open_browser: bool, say: Callable[[str], Any]) -> None:
    """Serve `app` behind a guard until Ctrl-C. The address is said, with the token that it takes."""
    server, address = _server(app, listener=listener)
    say(f"open {address}")
    say("names are saved as you type them; end with Ctrl-C")
    with _browser(address, wanted=open_browser, say=say):
        with suppress(KeyboardInterrupt):
            server.run(sockets=[listener])
        say("closed; every name is saved")


@contextmanager
def served(app: Any) -> Iterator[str]:
    """Serve `app` behind a guard from a thread of this process, at a free port, for the length of the block; yields the address."""
    listener = listen(0)
    server, address = _server(app, listener=listener)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
    thread.start()
    try:
        yield address
    finally:
        server.should_exit = True
        thread.join(timeout=10)
        listener.close()


def _server(app: Any, *, listener: socket.socket) -> tuple[uvicorn.Server, str]:
    """The server, and the address with its token. The socket listens already, so who comes before the server has started waits."""
    port, token = listener.getsockname()[1], secrets.token_urlsafe(24)
    config = uvicorn.Config(
        Guard(app, token=token, port=port),
        lifespan="off",
        log_level="warning",
        access_log=False,
        server_header=False,
        ws="none",
        timeout_graceful_shutdown=SHUTDOWN_S,
    )
    return uvicorn.Server(config), f"http://{HOST}:{port}/?token={token}"


@contextmanager
def _browser(address: str, *, wanted: bool, say: Callable[[str], Any]) -> Iterator[None]:
    """Open the address in the user's browser, through a file that no other user can read: a command line, where the token would be, all users can."""
    if not wanted:
        yield
        return
    if not _has_display():
        port = address.split(":")[2].partition("/")[0]
        say(f"no browser can be opened here; open the address yourself, from another machine after: ssh -N -L {port}:{HOST}:{port} THIS_MACHINE")
        yield
        return
    with tempfile.TemporaryDirectory(prefix="mcdist-view-") as folder:
        page = Path(folder) / "open.html"
        page.write_text(f'<!doctype html><meta charset="utf-8"><meta http-equiv="refresh" content="0; url={escape(address)}"><title>mcdist view</title>')
        if not webbrowser.open(page.as_uri()):
            say("no browser could be opened; open the address yourself")
        yield


def _has_display() -> bool:
    """Whether a browser could have a window; one in the terminal would take it away from this command."""
    return sys.platform == "darwin" or bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))
