"""Open the shards at a location: the one way from a path or URL to a reader, whatever the format, cached or staged where that is asked for.

A location is a path, `file:`, `http(s):`, `s3:`, `gs:`, or any other protocol that fsspec knows.
"""

from pathlib import Path

from mcdist.choices import FfcvCache, Verify, require_choice
from mcdist.data.files.cache import ShardCache
from mcdist.data.files.cached import CachedFiles
from mcdist.data.files.files import LocalFiles, ShardFiles
from mcdist.data.readers.ffcv import FfcvReader
from mcdist.data.readers.reader import SampleReader
from mcdist.data.readers.webdataset import WebDatasetReader
from mcdist.location import default_cache_dir, expand_variables, local_path

CACHE_GIB = 50.0


def open_shards(
    location: str | Path,
    *,
    cache_dir: str = "",
    cache_gib: float = CACHE_GIB,
    stage_to: str = "",
    verify: Verify = "never",
    ffcv_cache: FfcvCache = "os",
) -> SampleReader:
    """A reader of the WebDataset tars or FFCV files at `location`, as its manifest says.

    Args:
        location: a path or URL. A URL is read through a cache of at most `cache_gib` in `cache_dir` ("": a folder of this user's for temporary files).
        stage_to: a folder to keep all shards in, whatever the location; "" stages nothing. `$NAME` is an environment variable here and in `cache_dir`.
        verify: "open" compares each shard's SHA-256 when a process first reads it, "never" leaves that to fetching.
        ffcv_cache: as `FfcvReader`.

    Raises:
        ConfigError: a URL with a user, password, query or fragment, a choice that is none, or an environment variable that is not set.
        ShardError: the folder is missing, unfinished, empty or of another schema version.
        MachineError: the cache's folder cannot be used, or the network refuses.
    """
    require_choice("verify", verify, choices=Verify)
    require_choice("ffcv_cache", ffcv_cache, choices=FfcvCache)
    files = _files(location, cache_dir=cache_dir, cache_gib=cache_gib, stage_to=stage_to, check=verify == "open")
    manifest = files.manifest()
    if manifest.format == "ffcv":
        return FfcvReader(files, manifest=manifest, cache=ffcv_cache)
    return WebDatasetReader(files, manifest=manifest)


def _files(location: str | Path, *, cache_dir: str, cache_gib: float, stage_to: str, check: bool) -> ShardFiles:
    path = location if isinstance(location, Path) else local_path(location)
    if stage_to:
        source = str(location) if path is None else path.resolve().as_uri()
        return CachedFiles(source, cache=ShardCache(expand_variables(stage_to, key="data.stage_to"), max_bytes=None), verify=check)
    if path is not None:
        return LocalFiles(path, verify=check)
    folder = expand_variables(cache_dir, key="data.cache_dir") if cache_dir else default_cache_dir()
    return CachedFiles(str(location), cache=ShardCache(folder, max_bytes=int(cache_gib * 2**30)), verify=check)
