"""Guard: who may talk to the page. The machine's own user, through the address that was printed; no other site that a browser has open.

The server listens on loopback only, yet every page in every browser of this machine can send requests there, and so can every user of it. Hence:
a token that only the printed address holds (then a cookie that no other site's requests carry); the Host header must name loopback, which a site whose
name was bound to 127.0.0.1 cannot do; what changes something must come from this very origin; and no body is longer than its route allows.
"""

import secrets
from collections.abc import Awaitable, Callable, MutableMapping
from http.cookies import CookieError, SimpleCookie
from typing import Any
from urllib.parse import parse_qs

JSON_BYTES_MAX = 4 * 2**20
PHOTO_BYTES_MAX = 64 * 2**20
PHOTO_PATH = "/api/photos"

POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
HEADERS = {
    b"content-security-policy": POLICY.encode(),
    b"x-content-type-options": b"nosniff",
    b"x-frame-options": b"DENY",
    b"referrer-policy": b"no-referrer",
    b"cross-origin-opener-policy": b"same-origin",
    b"cross-origin-resource-policy": b"same-origin",
}

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Application = Callable[[Scope, Receive, Send], Awaitable[None]]


class TooLong(Exception):
    """The body is longer than its route allows."""


class Guard:
    """ASGI middleware around `application`, which is reached only by requests that may."""

    def __init__(self, application: Application, *, token: str, port: int) -> None:
        self._application, self._token = application, token
        self._hosts = {f"127.0.0.1:{port}", f"localhost:{port}"}
        self._cookie = f"mcdist_view_{port}"

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, or refuse it with one sentence."""
        if scope["type"] == "lifespan":
            await self._application(scope, receive, send)
            return
        if scope["type"] != "http":
            return
        headers = {name.lower(): value.decode("latin-1") for name, value in scope["headers"]}
        host, reading = headers.get(b"host", ""), scope["method"] in ("GET", "HEAD")
        if host not in self._hosts:
            await _refuse(send, 403, "this page answers only at the address that mcdist view printed")
        elif headers.get(b"sec-fetch-site", "none") not in ("none", "same-origin") and not (reading and scope["path"] == "/"):
            await _refuse(send, 403, "requests from other sites are refused")
        elif not reading and headers.get(b"origin") != f"http://{host}":
            await _refuse(send, 403, "changes from other sites are refused")
        elif scope["path"] == "/" and reading and self._is_token(_given_token(scope)):
            await self._welcome(send)
        elif not self._is_token(self._cookie_of(headers.get(b"cookie", ""))):
            await _refuse(send, 401, "open the whole address that mcdist view printed, with its token")
        else:
            await self._pass_on(scope, receive, send, length=headers.get(b"content-length", "0"))

    async def _pass_on(self, scope: Scope, receive: Receive, send: Send, *, length: str) -> None:
        bytes_max = PHOTO_BYTES_MAX if scope["path"] == PHOTO_PATH else JSON_BYTES_MAX
        sentence = f"what was sent must be at most {bytes_max >> 20} MiB; send a smaller photo, or fewer objects at a time"
        if not length.isdecimal() or int(length) > bytes_max:
            await _refuse(send, 413, sentence)
            return
        num_bytes, begun = 0, False

        async def counted() -> Message:
            nonlocal num_bytes
            message = await receive()
            num_bytes += len(message.get("body", b""))
            if num_bytes > bytes_max:
                raise TooLong
            return message

        async def guarded(message: Message) -> None:
            nonlocal begun
            if message["type"] == "http.response.start":
                begun = True
                own = [(name, value) for name, value in message.get("headers", []) if name.lower() not in HEADERS]
                kept = any(name.lower() == b"cache-control" for name, _ in own)
                message = {**message, "headers": [*own, *HEADERS.items(), *([] if kept else [(b"cache-control", b"no-store")])]}
            await send(message)

        try:
            await self._application(scope, counted, guarded)
        except TooLong:
            if not begun:
                await _refuse(send, 413, sentence)

    async def _welcome(self, send: Send) -> None:
        """The token becomes a cookie and leaves the address, so that no history, bookmark or screenshot has it."""
        cookie = f"{self._cookie}={self._token}; Path=/; HttpOnly; SameSite=Strict"
        headers = [(b"location", b"/"), (b"set-cookie", cookie.encode()), (b"content-length", b"0"), (b"cache-control", b"no-store"), *HEADERS.items()]
        await send({"type": "http.response.start", "status": 303, "headers": headers})
        await send({"type": "http.response.body", "body": b""})

    def _is_token(self, given: str) -> bool:
        return secrets.compare_digest(given.encode("utf-8", "surrogatepass"), self._token.encode())

    def _cookie_of(self, header: str) -> str:
        try:
            found = SimpleCookie(header).get(self._cookie)
        except CookieError:
            return ""
        return found.value if found else ""


def _given_token(scope: Scope) -> str:
    query = scope.get("query_string", b"")[:1000].decode("latin-1")
    return parse_qs(query, max_num_fields=20).get("token", [""])[0] if query.count("&") < 20 else ""


async def _refuse(send: Send, status: int, sentence: str) -> None:
    body = f"mcdist: {sentence}\n".encode()
    headers = [(b"content-type", b"text/plain; charset=utf-8"), (b"content-length", str(len(body)).encode()), (b"cache-control", b"no-store"), *HEADERS.items()]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
