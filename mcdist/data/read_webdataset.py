"""ShardFolder: any sample of a WebDataset shard folder by its index, read straight from its tar by the manifest's offsets."""

import os
from bisect import bisect_right
from itertools import accumulate
from pathlib import Path

from mcdist.data.manifest import Manifest, SampleEntry, read_manifest
from mcdist.data.sample import INSTANCES_MEMBER, PHOTO_MEMBERS, SEGMENTS_MEMBER, RawSample
from mcdist.errors import ShardError


class ShardFolder:
    """Samples in manifest order: index 0 is the first sample of the first shard. Safe to share between worker processes."""

    def __init__(self, folder: Path) -> None:
        """Raises ShardError where the folder is missing, unfinished, empty or of another schema version."""
        self.folder = folder
        self.manifest: Manifest = read_manifest(folder)
        if not self.manifest.num_samples:
            raise ShardError(f"expected samples in {folder}, the manifest lists none; see its `skipped` list for why and build again")
        self._ends = list(accumulate(len(shard.samples) for shard in self.manifest.shards))
        self._files: dict[tuple[int, int], int] = {}

    def __len__(self) -> int:
        return self.manifest.num_samples

    def key(self, index: int) -> str:
        """The sample's key, without reading its bytes."""
        return self._entry(index)[1].key

    def read(self, index: int, *, with_segments: bool = False) -> RawSample:
        """One `pread` a member. Ground truth is read only when asked for: training never does."""
        shard_index, entry = self._entry(index)
        where = f"{self.folder / self.manifest.shards[shard_index].name}, sample {entry.key}"
        photo_member = next((name for name in PHOTO_MEMBERS if name in entry.members), None)
        if photo_member is None or INSTANCES_MEMBER not in entry.members:
            raise ShardError(f"{where}: expected a photo ({' or '.join(PHOTO_MEMBERS)}) and {INSTANCES_MEMBER}, found {sorted(entry.members)}")
        segments = self._member(shard_index, entry, SEGMENTS_MEMBER, where) if with_segments and SEGMENTS_MEMBER in entry.members else None
        return RawSample(
            key=entry.key,
            where=where,
            photo=self._member(shard_index, entry, photo_member, where),
            instances=self._member(shard_index, entry, INSTANCES_MEMBER, where),
            segments=segments,
        )

    def _entry(self, index: int) -> tuple[int, SampleEntry]:
        if not 0 <= index < len(self):
            raise IndexError(f"sample {index} of {len(self)} in {self.folder}")
        shard_index = bisect_right(self._ends, index)
        first = self._ends[shard_index - 1] if shard_index else 0
        return shard_index, self.manifest.shards[shard_index].samples[index - first]

    def _member(self, shard_index: int, entry: SampleEntry, name: str, where: str) -> bytes:
        offset, size = entry.members[name]
        try:
            content = os.pread(self._file(shard_index, where), size, offset)
        except OSError as error:
            raise ShardError(f"{where}: cannot read {name} ({error.strerror}); check the disk, then: python -m shards verify {self.folder}") from error
        if len(content) != size:
            raise ShardError(f"{where}: {name} should be {size} bytes, the tar ends after {len(content)}; check with: python -m shards verify {self.folder}")
        return content

    def _file(self, shard_index: int, where: str) -> int:
        """One descriptor a shard and process: a forked worker opens its own."""
        slot = (os.getpid(), shard_index)
        if slot not in self._files:
            try:
                self._files[slot] = os.open(self.folder / self.manifest.shards[shard_index].name, os.O_RDONLY)
            except OSError as error:
                raise ShardError(f"{where}: cannot open the shard ({error.strerror}); check with: python -m shards verify {self.folder}") from error
        return self._files[slot]
