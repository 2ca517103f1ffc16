"""Fetch: one whole file from a URL into a local one, tried again with growing pauses, its checksum compared.

fsspec knows the protocols; tenacity when to try again.
"""

import asyncio
import errno
import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from fsspec.callbacks import Callback
from fsspec.core import url_to_fs
from tenacity import RetryCallState, Retrying, retry_if_exception, stop_after_attempt, wait_exponential, wait_random

from mcdist.errors import ConfigError, MachineError, McdistError, MissingExtraError, ShardError
from mcdist.location import without_secrets

MAX_TRIES = 6
WAIT = wait_exponential(multiplier=0.5, max=15) + wait_random(0, 1)
"""Six tries with pauses of about 0.5, 1, 2, 4 and 8 s, each with up to a second of chance, so that ranks do not come back all at once."""
CONNECT_TIMEOUT_S, SILENCE_TIMEOUT_S = 15, 60
EXTRAS = {"http": "remote", "https": "remote", "s3": "s3", "s3a": "s3", "gs": "gcs", "gcs": "gcs"}

Result = TypeVar("Result")


class Damaged(ShardError):
    """The content differs from what the manifest promises; it may be whole the next time."""


def fetch_file(url: str, *, to: Path, num_bytes: int, sha256: str) -> None:
    """Write the file at `url` to `to`.

    Raises:
        ShardError: there is no such file, or it stays another one than promised.
        MachineError: network, server or disk refuse, to the last try.
        MissingExtraError: the URL's protocol needs a package that is not installed.
    """

    def get(system: Any, path: str) -> None:
        system.get_file(path, str(to), callback=_AtMost(num_bytes, url=url))
        with to.open("rb") as file:
            found = hashlib.file_digest(file, "sha256").hexdigest()
        if found != sha256:
            raise Damaged(f"{url} came with {to.stat().st_size} bytes and another SHA-256, its manifest says {num_bytes} bytes")

    _tried(url, get)


def fetch_bytes(url: str) -> bytes:
    """The content of a small file, with the errors of `fetch_file`."""
    return _tried(url, lambda system, path: bytes(system.cat_file(path)))


def _tried(url: str, get: Callable[[Any, str], Result]) -> Result:
    tries = Retrying(stop=stop_after_attempt(MAX_TRIES), wait=_wait, retry=retry_if_exception(_may_pass), reraise=True)
    system, path = _system(url)
    try:
        return tries(get, system, path)
    except (McdistError, KeyboardInterrupt):
        raise
    except Exception as error:  # each protocol has errors of its own
        raise _told(url, error) from error


def _wait(state: RetryCallState) -> float:
    return WAIT(state)


def _system(url: str) -> tuple[Any, str]:
    protocol = url.partition("://")[0]
    try:
        return url_to_fs(url, **(_http_options() if protocol in ("http", "https") else {}))
    except ImportError as error:
        extra = EXTRAS.get(protocol)
        how = f"pip install 'mcdist[{extra}]'" if extra else without_secrets(str(error))
        raise MissingExtraError(f"shards at {protocol}:// need a package that is not installed: {how}") from error
    except ValueError as error:
        raise ConfigError(f"cannot read {url}: {without_secrets(str(error))}; use a path, or a URL with http, https, s3 or gs") from error


def _http_options() -> dict[str, Any]:
    """A shard may take long as a whole, but not fall silent."""
    from aiohttp import ClientTimeout

    return {"client_kwargs": {"timeout": ClientTimeout(total=None, sock_connect=CONNECT_TIMEOUT_S, sock_read=SILENCE_TIMEOUT_S)}}


class _AtMost(Callback):
    """Ends a transfer that brings more than was promised: it could fill the disk."""

    def __init__(self, num_bytes: int, *, url: str) -> None:
        super().__init__()
        self._num_bytes, self._url = num_bytes, url

    def relative_update(self, inc: int = 1) -> None:
        """fsspec calls this with the bytes of every piece."""
        super().relative_update(inc)
        if self.value > self._num_bytes:
            raise Damaged(f"{self._url} brings more than the {self._num_bytes} bytes of its manifest")


def _may_pass(error: BaseException) -> bool:
    """Whether another try may succeed: not for what is missing, forbidden or not to be stored."""
    if isinstance(error, McdistError):
        return isinstance(error, Damaged)
    if isinstance(error, FileNotFoundError | PermissionError | NotImplementedError) or not isinstance(error, Exception):
        return False
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EROFS):
        return False
    status = getattr(error, "status", None)
    return not (isinstance(status, int) and 400 <= status < 500 and status not in (408, 429))


def _told(url: str, error: Exception) -> McdistError:
    reason = without_secrets(str(error).strip().split("\n")[0]) or type(error).__name__
    if isinstance(error, FileNotFoundError):
        return ShardError(f"expected {url}, the server has no such file; check the address, or upload the folder again")
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        return MachineError(f"no space left to keep {url}; lower data.cache_gib, or name another data.cache_dir or data.stage_to")
    if isinstance(error, asyncio.TimeoutError | TimeoutError):
        reason = f"no byte for {SILENCE_TIMEOUT_S} s"
    tries = f"in {MAX_TRIES} tries" if _may_pass(error) else "refused at once"
    return MachineError(f"cannot fetch {url}, {tries} ({reason}); check network, server and credentials, then run the same command again")
