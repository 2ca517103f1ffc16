"""Open the files of a shard folder wherever it is: a path, `file:`, `http(s):`, `s3:`, `gs:`, or any other protocol that fsspec knows."""

import os
import re
import tempfile
from pathlib import Path
from urllib.parse import unquote, urlsplit

from mcdist.data.files.cache import ShardCache
from mcdist.data.files.cached import CachedFiles
from mcdist.data.files.files import LocalFiles, ShardFiles
from mcdist.errors import ConfigError

_URL = re.compile(r"[a-z][a-z0-9+.-]*://")
_VARIABLE = re.compile(r"\$([A-Za-z_][A-Za-z0-9_]*)")


def open_files(location: str, *, cache_dir: str, cache_gib: float, stage_to: str, verify: str) -> ShardFiles:
    """The files at `location`; through a bounded cache where it is a URL, through a staging folder where `stage_to` names one.

    `verify`: "open" compares each shard's SHA-256 when a process first reads it, "never" leaves that to fetching.

    Raises:
        ConfigError: a URL with a query or a password in it, or an environment variable that is not set.
        MachineError: the cache's folder cannot be used.
    """
    path, check = local_path(location), verify == "open"
    if stage_to:
        source = location if path is None else path.resolve().as_uri()
        return CachedFiles(source, cache=ShardCache(expand_variables(stage_to, key="data.stage_to"), max_bytes=None), verify=check)
    if path is not None:
        return LocalFiles(path, verify=check)
    parts = urlsplit(location)
    if parts.query or parts.fragment or parts.username or parts.password:
        raise ConfigError(f"{parts.scheme}://{parts.hostname}/... wants a plain URL, without user, password or query: it is kept in the run's files")
    folder = expand_variables(cache_dir, key="data.cache_dir") if cache_dir else default_cache_dir()
    return CachedFiles(location, cache=ShardCache(folder, max_bytes=int(cache_gib * 2**30)), verify=check)


def local_path(location: str) -> Path | None:
    """The folder on this machine that `location` names, as a path or as a `file:` URL; None for another URL."""
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
