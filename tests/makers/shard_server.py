"""A web server of one folder on loopback that fails as it is told to. It answers a bounded number of requests and stops by itself."""

import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import urlsplit

MAX_REQUESTS, MAX_S = 500, 60.0


class ShardServer(ThreadingHTTPServer):
    """`faults[name]`: what happens at the next requests of that file, one each: a status, "drop", "truncate", "garbage", "endless", "delay" or "redirect"
    (to itself, with a signature in the query).

    It knows no ranges. `counts` has the requests of each file.
    """

    daemon_threads = True
    block_on_close = False

    def __init__(self, folder: Path) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.folder, self.faults, self.counts = folder, dict[str, list[int | str]](), Counter[str]()
        self.lock, self.delay_s = threading.Lock(), 0.0

    @property
    def url(self) -> str:
        """Where the folder is."""
        return f"http://127.0.0.1:{self.server_address[1]}/shards"

    def next_fault(self, name: str) -> int | str | None:
        """Count a request, and say how it fails."""
        with self.lock:
            self.counts[name] += 1
            if self.counts.total() > MAX_REQUESTS:
                return 503
            faults = self.faults.get(name, [])
            return faults.pop(0) if faults else None

    def handle_error(self, request: object, client_address: object) -> None:
        """Clients that leave are part of the game."""


class _Handler(BaseHTTPRequestHandler):
    server: ShardServer

    def do_GET(self) -> None:
        name = Path(urlsplit(self.path).path).name
        fault, path = self.server.next_fault(name), self.server.folder / name
        time.sleep(self.server.delay_s)
        if isinstance(fault, int) or not path.is_file():
            self.send_error(fault if isinstance(fault, int) else 404)
        elif fault == "drop":
            self.connection.close()
        elif fault == "redirect":
            self.send_response(302)
            self.send_header("Location", f"{self.path}?signature=hunter2")
            self.end_headers()
        else:
            self._answer(path.read_bytes(), fault=fault)

    def _answer(self, content: bytes, *, fault: str | None) -> None:
        self.send_response(200)
        if fault != "endless":
            self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if fault == "delay":
            time.sleep(1.0)
        sent = {"truncate": content[: len(content) // 2], "garbage": bytes(len(content)), "endless": 3 * content}.get(fault or "", content)
        self.wfile.write(sent)

    def log_message(self, format: str, *values: object) -> None:
        """Quiet."""


@contextmanager
def serve(folder: Path) -> Iterator[ShardServer]:
    """The folder served for the length of the block, or a minute."""
    server = ShardServer(folder)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    end = threading.Timer(MAX_S, server.shutdown)
    end.daemon = True
    thread.start()
    end.start()
    try:
        yield server
    finally:
        end.cancel()
        server.shutdown()
        server.server_close()
