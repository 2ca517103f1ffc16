"""Locations of shard folders: which of them are on this machine, and which URLs are refused because they hold a secret."""

import os
import re
import tempfile
from pathlib import Path
from urllib.parse import unquote, urlsplit

from mcdist.errors import ConfigError

_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://")
_SECRETS = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*://)(?:[^\s/'\"<>]*@)?([^\s?#'\"<>]*)(?:[?#][^\s'\"<>]*)?")
_VARIABLE = re.compile(r"\$([A-Za-z_][A-Za-z0-9_]*)")


def check_location(location: str, *, key: str = "the location of shards") -> None:
    """Refuse a URL with a user, password, query or fragment: locations are written to the run's files, to logs and to trackers.

    Raises:
        ConfigError: the message names `key` and repeats nothing of the URL but its protocol.
    """
    if not _URL.match(location):
        return
    try:
        parts = urlsplit(location)
        is_plain = not (parts.query or parts.fragment or "@" in parts.netloc or "?" in location or "#" in location)
    except ValueError:
        is_plain = False
    if not is_plain:
        raise ConfigError(
            f"{key} must be a URL without user, password, query and fragment, since it is written to the run's files; "
            f"got one at {location.partition('://')[0]}://... with some of these; give credentials by the environment (docs/formats.md)"
        )


def without_secrets(text: str) -> str:
    """`text`, such as another package's error, without the user, password, query and fragment of any URL in it: a server may redirect to a signed one."""
    return _SECRETS.sub(r"\1\2", text)


def local_path(location: str) -> Path | None:
    """The folder on this machine that `location` names, as a path or as a `file:` URL; None for another URL.

    Raises:
        ConfigError: as `check_location`, or the URL names another machine.
    """
    check_location(location)
    if location.startswith("file:"):
        parts = urlsplit(location)
        if parts.netloc not in ("", "localhost"):
            raise ConfigError(f"{location} names the machine {parts.netloc}; write file:///PATH")
        return Path(unquote(parts.path))
    return None if _URL.match(location) else Path(location)


def expand_variables(text: str, *, key: str) -> Path:
    """The path with every `$NAME` replaced by that environment variable. Nothing else of a shell's is understood."""

    def value(found: re.Match[str]) -> str:
        name = found.group(1)
        if not os.environ.get(name):
            raise ConfigError(f"{key}={text} names the environment variable {name}, which is not set here; set it, or name a folder")
        return os.environ[name]

    return Path(_VARIABLE.sub(value, text))


def default_cache_dir() -> Path:
    """A folder of this user's in the machine's place for temporary files, which is local to the node."""
    return Path(tempfile.gettempdir()) / f"mcdist-shards-{os.getuid()}"
