"""Open shards: the reader that a shard folder's format wants."""

from pathlib import Path

from mcdist.data.files.files import LocalFiles, ShardFiles
from mcdist.data.readers.ffcv import FfcvFolder
from mcdist.data.readers.open_beton import Cache
from mcdist.data.readers.reader import SampleReader
from mcdist.data.readers.webdataset import ShardFolder


def open_shards(folder: Path | ShardFiles, *, ffcv_cache: Cache = "os") -> SampleReader:
    """A reader of WebDataset tars or of FFCV files, as the manifest says; `ffcv_cache` as `FfcvFolder`.

    Raises:
        ShardError: the folder is missing, unfinished, empty or of another schema version.
    """
    files = LocalFiles(folder) if isinstance(folder, Path) else folder
    return FfcvFolder(files, cache=ffcv_cache) if files.manifest().format == "ffcv" else ShardFolder(files)
