"""FfcvReader: any sample of a folder of FFCV files by its index, straight from the files' tables.

Reading needs no ffcv: its Loader opens one file, compiles for seconds, draws its own crops, and waits for ever where a file is damaged. Here the files
take part in the run's own order, lanes and workers, and the views are those of any other shard (docs/decisions.md).
"""

from bisect import bisect_right
from itertools import accumulate
from pathlib import Path

from mcdist.choices import FfcvCache, require_choice
from mcdist.data.files.files import MAX_DESCRIPTORS, LocalFiles, ShardFiles
from mcdist.data.files.recent import Recent
from mcdist.data.readers.beton_file import BetonFile
from mcdist.data.shards.manifest import Manifest
from mcdist.data.shards.raw_sample import RawSample
from mcdist.errors import ShardError


class FfcvReader:
    """Samples in manifest order: index 0 is the first sample of the first file. Picklable: worker processes open their own files.

    `cache`: `os` maps the files, so that a crop of a photo kept as pixels fetches its own rows only and all processes share the system's cache;
    `process` reads each sample into the process in one go, which suits network disks, and files that may be cut short under a run. Fetched files
    are always read so.
    """

    def __init__(self, folder: Path | ShardFiles, *, manifest: Manifest | None = None, cache: FfcvCache = "os") -> None:
        """Raises ShardError where the folder is missing, unfinished, empty or of another format or schema version, ConfigError for another `cache`."""
        require_choice("cache", cache, choices=FfcvCache)
        self.files: ShardFiles = LocalFiles(folder) if isinstance(folder, Path) else folder
        self.cache: FfcvCache = cache
        self.manifest = self.files.manifest() if manifest is None else manifest
        if self.manifest.format != "ffcv":
            raise ShardError(f"{self.files.name} holds {self.manifest.format} files, expected FFCV files; open it with open_shards")
        if not self.manifest.num_samples:
            raise ShardError(f"expected samples in {self.files.name}, the manifest lists none; see its `skipped` list for why and build again")
        self._ends = list(accumulate(shard.num_samples for shard in self.manifest.shards))
        self._open: Recent[int, BetonFile] = Recent(MAX_DESCRIPTORS, cost=_one, close=_leave)

    def __len__(self) -> int:
        return self._ends[-1]

    def key(self, index: int) -> str:
        """The sample's key, read from its file."""
        place, row = self._place(index)
        return self.shard(place).key(row)

    def shard_of(self, index: int) -> int:
        """The place in the manifest of the shard that holds sample `index`."""
        return bisect_right(self._ends, index)

    def shard(self, place: int) -> BetonFile:
        """The file at `place` in the manifest; ShardError where it is damaged."""
        return self._open.get(place, make=lambda: BetonFile(self.files, shard=self.manifest.shards[place], cache=self.cache))

    def read(self, index: int, *, with_segments: bool = False) -> RawSample:
        """The photo as JPEG bytes or as pixels, the map likewise. Ground truth is read only when asked for: training never does."""
        place, row = self._place(index)
        return self.shard(place).read(row, with_segments=with_segments)

    def members(self, index: int) -> dict[str, bytes]:
        """Every member as a WebDataset sample holds it, by name. No photo among them: only its pixels were kept."""
        place, row = self._place(index)
        return self.shard(place).members(row)

    def num_with(self, member: str) -> int:
        """How many samples have the member."""
        return sum(self.shard(place).num_with(member) for place in range(len(self.manifest.shards)))

    def fetch_again(self, index: int) -> bool:
        """True where the shard came from a damaged local copy, which has been replaced."""
        if not self.files.fetch_again(self.manifest.shards[self.shard_of(index)]):
            return False
        self._open.clear()
        return True

    def _place(self, index: int) -> tuple[int, int]:
        if not 0 <= index < len(self):
            raise IndexError(f"sample {index} of {len(self)} in {self.files.name}")
        place = self.shard_of(index)
        return place, index - (self._ends[place - 1] if place else 0)


def _one(beton: BetonFile) -> int:
    return 1


def _leave(beton: BetonFile) -> None:
    """A map ends with the last view of it."""
