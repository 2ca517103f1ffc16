"""WebDatasetReader: any sample of a WebDataset shard folder by its index, read straight from its tar by the index's offsets."""

import hashlib
import os
from bisect import bisect_right
from itertools import accumulate
from pathlib import Path

from mcdist.data.files.files import LocalFiles, ShardFiles
from mcdist.data.files.recent import Recent
from mcdist.data.shards.index import SampleEntry, ShardIndex, index_name, parse_index
from mcdist.data.shards.manifest import Manifest, ShardEntry
from mcdist.data.shards.raw_sample import INSTANCES_MEMBER, PHOTO_MEMBERS, SEGMENTS_MEMBER, RawSample
from mcdist.errors import ShardError

MAX_INDEXED_SAMPLES = 65_536
"""Samples in the indexes a process holds open, some 200 bytes each."""


class WebDatasetReader:
    """Samples in manifest order: index 0 is the first sample of the first shard. Picklable: worker processes open their own files."""

    def __init__(self, folder: Path | ShardFiles, *, manifest: Manifest | None = None) -> None:
        """Raises ShardError where the folder is missing, unfinished, empty or of another schema version."""
        self.files: ShardFiles = LocalFiles(folder) if isinstance(folder, Path) else folder
        self.manifest = self.files.manifest() if manifest is None else manifest
        if self.manifest.format != "webdataset":
            raise ShardError(f"{self.files.name} holds {self.manifest.format} files, expected WebDataset tars; open it with open_shards")
        if not self.manifest.num_samples:
            raise ShardError(f"expected samples in {self.files.name}, the manifest lists none; see its `skipped` list for why and build again")
        self._ends = list(accumulate(shard.num_samples for shard in self.manifest.shards))
        self._indexes: Recent[int, ShardIndex] = Recent(MAX_INDEXED_SAMPLES, cost=len, close=_nothing)

    def __len__(self) -> int:
        return self._ends[-1]

    def key(self, index: int) -> str:
        """The sample's key, without reading its bytes."""
        return self._entry(index)[1].key

    def shard_of(self, index: int) -> int:
        """The place in the manifest of the shard that holds sample `index`."""
        return bisect_right(self._ends, index)

    def read(self, index: int, *, with_segments: bool = False) -> RawSample:
        """One `pread` a member. Ground truth is read only when asked for: training never does."""
        shard, entry = self._entry(index)
        where = f"{self.files.name}/{shard.name}, sample {entry.key}"
        photo_member = next((name for name in PHOTO_MEMBERS if name in entry.members), None)
        if photo_member is None or INSTANCES_MEMBER not in entry.members:
            raise ShardError(f"{where}: expected a photo ({' or '.join(PHOTO_MEMBERS)}) and {INSTANCES_MEMBER}, found {sorted(entry.members)}")
        wanted = [photo_member, INSTANCES_MEMBER] + ([SEGMENTS_MEMBER] if with_segments and SEGMENTS_MEMBER in entry.members else [])
        where += f" ({', '.join(f'{name} at byte {entry.members[name][0]}' for name in wanted)})"
        with self.files.open(shard) as descriptor:
            content = {name: self._member(descriptor, entry, name=name, where=where) for name in wanted}
        return RawSample(key=entry.key, where=where, photo=content[photo_member], instances=content[INSTANCES_MEMBER], segments=content.get(SEGMENTS_MEMBER))

    def members(self, index: int) -> dict[str, bytes]:
        """Every member that the sample has, by name."""
        shard, entry = self._entry(index)
        with self.files.open(shard) as descriptor:
            return {name: self._member(descriptor, entry, name=name, where=f"{self.files.name}/{shard.name}, sample {entry.key}") for name in entry.members}

    def num_with(self, member: str) -> int:
        """How many samples have the member, from the indexes alone."""
        indexes = (self.read_index(place) for place in range(len(self.manifest.shards)))
        return sum(member in entry.members for index in indexes for entry in index)

    def fetch_again(self, index: int) -> bool:
        """As `ShardFiles.fetch_again`, of the sample's shard."""
        return self.files.fetch_again(self.manifest.shards[self.shard_of(index)])

    def _entry(self, index: int) -> tuple[ShardEntry, SampleEntry]:
        if not 0 <= index < len(self):
            raise IndexError(f"sample {index} of {len(self)} in {self.files.name}")
        place = self.shard_of(index)
        first = self._ends[place - 1] if place else 0
        opened = self._indexes.get(place, make=lambda: self.read_index(place))
        return self.manifest.shards[place], opened.entry(index - first)

    def read_index(self, place: int) -> ShardIndex:
        """The index of the shard at `place` in the manifest, read anew; ShardError where it does not fit the manifest."""
        shard = self.manifest.shards[place]
        where = f"{self.files.name}/{index_name(shard.name)}"
        content = self.files.read_index(shard)
        parsed = parse_index(content, shard=shard, where=where)
        if hashlib.sha256(content).hexdigest() != shard.index_sha256:
            raise ShardError(f"{where} has another SHA-256 than its manifest says; build the shards again with --overwrite, or copy the folder again")
        return parsed

    def _member(self, descriptor: int, entry: SampleEntry, *, name: str, where: str) -> bytes:
        offset, size = entry.members[name]
        try:
            content = os.pread(descriptor, size, offset)
        except OSError as error:
            raise ShardError(f"{where}: cannot read {name} ({error.strerror}); check the disk, then: mcdist shards verify {self.files.name}") from error
        if len(content) != size:
            raise ShardError(f"{where}: {name} should be {size} bytes, the tar ends after {len(content)}; check with: mcdist shards verify {self.files.name}")
        return content


def _nothing(index: ShardIndex) -> None:
    """An index holds no file open."""
