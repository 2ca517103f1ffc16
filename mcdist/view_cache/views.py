"""CachedViews: the Batches that a run asks for, with features in place of images, read from a cache of views. Nothing is decoded or computed."""

from collections.abc import Sequence

import numpy
import torch
from torch.utils.data import Dataset

from mcdist.data.bad_samples import BadSample, shard_name
from mcdist.data.batch import Batch
from mcdist.data.files.recent import Recent
from mcdist.data.order import Request
from mcdist.data.photo_views import key_of
from mcdist.data.readers.reader import SampleReader
from mcdist.errors import DataError, McdistError
from mcdist.store.names import PHOTOS
from mcdist.store.store import FeatureStore
from mcdist.view_cache.layout import BAD, COLUMNS

MOST_OPEN_CHUNKS = 512
"""Chunks that stay mapped: address space, not memory."""

Arrays = tuple[numpy.ndarray, numpy.ndarray, numpy.ndarray]
"""Of one chunk: features, instances, counts."""


class CachedViews(Dataset[Batch]):
    """Epoch e of a photo is its pair e mod n. The cache is mapped into memory: the disk is read where it is touched, its pages are the system's to keep."""

    def __init__(self, store: FeatureStore, *, reader: SampleReader) -> None:
        """`reader`: of the shards that the cache was made of; it names bad samples, and nothing else is asked of it."""
        self.reader = reader
        self.chunk = store.manifest.plan.chunk
        self.columns = [store.column(PHOTOS, name) for name in COLUMNS]
        self.num_pairs, self.num_views = self.columns[0].row_shape[:2]
        self._open: Recent[int, Arrays] = Recent(MOST_OPEN_CHUNKS, cost=_one, close=_nothing)

    def __len__(self) -> int:
        return len(self.columns[0])

    def __getitems__(self, requests: Sequence[Request]) -> Batch | McdistError:
        """A micro-batch, or the error as a value: raised in a worker, torch would bury its one sentence in a stack trace."""
        try:
            return self._batch(requests)
        except DataError as error:
            return error

    def _batch(self, requests: Sequence[Request]) -> Batch:
        features_column, instances_column, counts_column = self.columns
        features = numpy.empty((self.num_views, len(requests), *features_column.row_shape[2:]), dtype=features_column.dtype)
        instances = numpy.empty((self.num_views, len(requests), *instances_column.row_shape[2:]), dtype=numpy.int16)
        counts = numpy.empty((len(requests), *counts_column.row_shape[1:]), dtype=numpy.int64)
        for place, request in enumerate(requests):
            chunk, row = divmod(request.index, self.chunk)
            own_features, own_instances, own_counts = self._open.get(chunk, make=lambda chunk=chunk: self._arrays(chunk))  # type: ignore[misc]
            pair = request.epoch % self.num_pairs
            features[:, place], instances[:, place], counts[place] = own_features[row, pair], own_instances[row, pair], own_counts[row, pair]
        maps, numbers = torch.from_numpy(features).permute(0, 1, 4, 2, 3), torch.from_numpy(instances)
        num_redrawn, num_emptied, num_dropped_objects, num_bad = counts.sum(0).tolist()
        return Batch(
            query_images=maps[0],
            key_images=maps[-1],  # the query again where the key is not kept: nothing looks at it
            query_instances=numbers[0],
            key_instances=numbers[-1],
            indices=torch.tensor([request.index for request in requests], dtype=torch.int64),
            num_redrawn=num_redrawn,
            num_emptied=num_emptied,
            num_dropped_objects=num_dropped_objects,
            num_bad=num_bad,
            bad=tuple(self._bad(request).to_json() for request, is_bad in zip(requests, counts[:, BAD], strict=True) if is_bad),
        )

    def _arrays(self, chunk: int) -> Arrays:
        features, instances, counts = (column.chunk(chunk) for column in self.columns)
        return features, instances, counts

    def _bad(self, request: Request) -> BadSample:
        shard = shard_name(self.reader.manifest, index=request.index)
        reason = "it could not be read when its views were cached; once it can be, delete the cache of views"
        return BadSample(shard=shard, key=key_of(self.reader, request.index), index=request.index, epoch=request.epoch, reason=reason)


def _one(arrays: Arrays) -> int:
    """Each chunk counts alike."""
    return 1


def _nothing(arrays: Arrays) -> None:
    """A mapping ends with its last array."""
