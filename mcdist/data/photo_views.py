"""PhotoViews: samples of a shard folder as the two views that training asks for. A damaged copy of a shard is fetched again, once."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

from torch.utils.data import Dataset

from mcdist.data.bad_samples import BadSample, shard_name, stand_in
from mcdist.data.order import Request
from mcdist.data.readers.reader import SampleReader
from mcdist.data.shards.check import check_raw
from mcdist.data.shards.sample import RawSample
from mcdist.data.views.draw import ViewSettings
from mcdist.data.views.two_views import TwoViews, two_views_of_file
from mcdist.errors import McdistError, ShardError

Result = TypeVar("Result")


@dataclass(frozen=True, slots=True)
class Made:
    """The samples of a micro-batch, and the bad ones among them, whose stand-ins they hold."""

    samples: list[TwoViews]
    bad: tuple[BadSample, ...]


class PhotoViews(Dataset[TwoViews]):
    """The two views of any requested sample of a shard folder. Never reads ground truth."""

    def __init__(self, folder: SampleReader, *, views: ViewSettings, seed: int, decode: str = "exact", bad_samples: str = "error") -> None:
        self.folder = folder
        self.views = views
        self.seed = seed
        self.decode = decode
        self.bad_samples = bad_samples

    def __len__(self) -> int:
        return len(self.folder)

    def __getitem__(self, request: Request) -> TwoViews:
        """Read, decode and draw. Raises ShardError where the sample is damaged."""
        return from_sound_copy(self.folder, request.index, make=lambda raw: self._views(raw, request=request))

    def __getitems__(self, requests: Sequence[Request]) -> Made | McdistError:
        """A micro-batch, or the error as a value: raised in a worker, torch would bury its one sentence in a stack trace."""
        bad: list[BadSample] = []
        try:
            return Made(samples=[self._good_or_void(request, bad=bad) for request in requests], bad=tuple(bad))
        except McdistError as error:
            return error

    def _good_or_void(self, request: Request, *, bad: list[BadSample]) -> TwoViews:
        """The sample's views; of a bad sample, where these are skipped, views that are void everywhere. A machine that fails is no bad sample."""
        try:
            return self[request]
        except ShardError as error:
            if self.bad_samples == "error":
                raise ShardError(f"{error}; or continue without such samples: data.bad_samples=skip run.allow_changes=[data.bad_samples]") from error
            shard, key = shard_name(self.folder.manifest, index=request.index), _key_of(self.folder, request.index)
            bad.append(BadSample(shard=shard, key=key, index=request.index, epoch=request.epoch, reason=str(error)))
            return replace(self._views(stand_in(key), request=request), num_redrawn=0, emptied=False)

    def _views(self, raw: RawSample, *, request: Request) -> TwoViews:
        return two_views_of_file(raw, seed=self.seed, epoch=request.epoch, index=request.index, settings=self.views, decode=self.decode)


def from_sound_copy(folder: SampleReader, index: int, *, make: Callable[[RawSample], Result], with_segments: bool = False) -> Result:
    """`make` of the sample's checked bytes; once more from a fresh copy of its shard, where the local copy turns out to be damaged.

    Raises:
        ShardError: the sample is damaged.
    """
    try:
        return _made(folder, index, make=make, with_segments=with_segments)
    except ShardError:
        if not folder.fetch_again(index):
            raise
    return _made(folder, index, make=make, with_segments=with_segments)


def _made(folder: SampleReader, index: int, *, make: Callable[[RawSample], Result], with_segments: bool) -> Result:
    raw = folder.read(index, with_segments=with_segments)
    check_raw(raw)
    return make(raw)


def _key_of(folder: SampleReader, index: int) -> str:
    try:
        return folder.key(index)
    except ShardError:
        return ""
