"""SampleReader: what training and evaluation ask of a shard folder, whatever its format."""

from typing import Protocol, runtime_checkable

from mcdist.data.files.files import ShardFiles
from mcdist.data.shards.manifest import Manifest
from mcdist.data.shards.raw_sample import RawSample


@runtime_checkable
class SampleReader(Protocol):
    """Samples by index, in manifest order. It travels to worker processes; its memory does not grow with the number of samples."""

    @property
    def files(self) -> ShardFiles:
        """Where the folder's files come from."""
        ...

    @property
    def manifest(self) -> Manifest:
        """What the folder holds."""
        ...

    def __len__(self) -> int:
        """Samples in the folder."""
        ...

    def key(self, index: int) -> str:
        """The sample's key, without reading its bytes."""
        ...

    def read(self, index: int, *, with_segments: bool = False) -> RawSample:
        """The sample's undecoded bytes, ground truth only when asked for.

        Raises:
            ShardError: the sample or its shard is damaged; the message names shard, key and byte offset.
        """
        ...

    def members(self, index: int) -> dict[str, bytes]:
        """Every member that the sample has, by name. No photo among them: only its pixels were kept."""
        ...

    def num_with(self, member: str) -> int:
        """How many samples have the member."""
        ...

    def fetch_again(self, index: int) -> bool:
        """As `ShardFiles.fetch_again`, of the sample's shard."""
        ...
