"""What the suite's shared fixtures give, for the signatures of the tests that take them."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

from mcdist.data.shards.index import SampleEntry
from mcdist.data.views.draw import ViewSettings


class MembersOf(Protocol):
    """The fixture `members_of`: a sample's members by name."""

    def __call__(self, index: int, *, height: int = ..., width: int = ...) -> dict[str, bytes]: ...


class MakeShards(Protocol):
    """The fixture `make_shards`: a folder of so many samples below the test's own."""

    def __call__(self, num_samples: int, *, shard_size: int = ..., members_of: Callable[[int], dict[str, bytes]] = ...) -> Path: ...


class ShardsAt(Protocol):
    """The fixture `shards_at`: the same in any folder."""

    def __call__(self, folder: Path, num_samples: int, *, shard_size: int = ..., members_of: Callable[[int], dict[str, bytes]] = ...) -> Path: ...


class RelistShard(Protocol):
    """The fixture `relist_shard`: the folder after the samples of one shard were listed otherwise."""

    def __call__(self, folder: Path, *, place: int, change: Callable[[list[SampleEntry]], list[SampleEntry]]) -> Path: ...


class MakeViewSettings(Protocol):
    """The fixture `view_settings`: settings of views, with some changed by name."""

    def __call__(self, **changes: Any) -> ViewSettings: ...
