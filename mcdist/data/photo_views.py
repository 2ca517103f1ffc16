"""PhotoViews: samples of a shard folder as the two views that training asks for. A damaged copy of a shard is fetched again, once."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TypeVar

from torch.utils.data import Dataset

from mcdist.choices import BadSamples, Decode, require_choice
from mcdist.data.bad_samples import BadSample, shard_name, stand_in
from mcdist.data.order import Request
from mcdist.data.readers.reader import SampleReader
from mcdist.data.shards.check import check_raw
from mcdist.data.shards.raw_sample import RawSample
from mcdist.data.views.draw import ViewSettings
from mcdist.data.views.two_views import TwoViews, two_views_of_file
from mcdist.errors import McdistError, ShardError

Result = TypeVar("Result")


@dataclass(frozen=True, slots=True)
class MadeViews:
    """The samples of a micro-batch, and the bad ones among them, whose stand-ins they hold."""

    samples: list[TwoViews]
    bad: tuple[BadSample, ...]


class PhotoViews(Dataset[TwoViews]):
    """The two views of any requested sample of a shard folder. Never reads ground truth."""

    def __init__(self, reader: SampleReader, *, views: ViewSettings, seed: int, decode: Decode = "exact", bad_samples: BadSamples = "error") -> None:
        """`bad_samples`: "error" ends the run with the sample's sentence; "skip" keeps the sample's place, void everywhere, counted and listed.

        Raises:
            ConfigError: `decode` or `bad_samples` is not one of its choices.
        """
        require_choice("decode", decode, choices=Decode)
        require_choice("bad_samples", bad_samples, choices=BadSamples)
        self.reader = reader
        self.views = views
        self.seed = seed
        self.decode: Decode = decode
        self.bad_samples: BadSamples = bad_samples

    def __len__(self) -> int:
        return len(self.reader)

    def __getitems__(self, requests: Sequence[Request]) -> MadeViews | McdistError:
        """A micro-batch, or the error as a value: raised in a worker, torch would bury its one sentence in a stack trace."""
        bad: list[BadSample] = []
        try:
            return MadeViews(samples=[self._views(request, bad=bad) for request in requests], bad=tuple(bad))
        except McdistError as error:
            return error

    def _views(self, request: Request, *, bad: list[BadSample]) -> TwoViews:
        """The sample's views; where bad samples are skipped, views that are void everywhere. I/O failures of the machine are not bad samples."""
        make = partial(two_views_of_file, seed=self.seed, epoch=request.epoch, index=request.index, settings=self.views, decode=self.decode)
        try:
            return read_sound(self.reader, request.index, make=make)
        except ShardError as error:
            if self.bad_samples == "error":
                raise ShardError(f"{error}; or continue without such samples: data.bad_samples=skip run.allow_changes=[data.bad_samples]") from error
            shard, key = shard_name(self.reader.manifest, index=request.index), key_of(self.reader, request.index)
            bad.append(BadSample(shard=shard, key=key, index=request.index, epoch=request.epoch, reason=str(error)))
            return replace(make(stand_in(key)), num_redrawn=0, emptied=False)


def read_sound(reader: SampleReader, index: int, *, make: Callable[[RawSample], Result], with_segments: bool = False) -> Result:
    """`make` of the sample's checked bytes; tried once more with a fresh copy of its shard, where the local copy was damaged.

    Damage may show only in `make`: a JPEG has no checksum.

    Raises:
        ShardError: the sample is damaged.
    """
    for is_last_try in (False, True):
        try:
            raw = reader.read(index, with_segments=with_segments)
            check_raw(raw)
            return make(raw)
        except ShardError:
            if is_last_try or not reader.fetch_again(index):
                raise
    raise AssertionError("the last try returns or raises")


def key_of(reader: SampleReader, index: int) -> str:
    """The sample's key; empty where its shard's index cannot be read."""
    try:
        return reader.key(index)
    except ShardError:
        return ""
