"""Groups of a shard folder's objects for tests: a feature store with two numbered objects a photo, and groups of them beside it, made without any photo."""

from pathlib import Path
from typing import Any

import numpy

from mcdist.data.readers.content import content_of
from mcdist.data.readers.open import open_shards
from mcdist.groups.file import write_groups
from mcdist.groups.find import find_groups
from mcdist.groups.record import Groups
from mcdist.groups.settings import GroupSettings
from mcdist.groups.source import objects_of
from mcdist.store.plan import StorePlan
from mcdist.store.store import FeatureStore
from mcdist.store.writer import StoreWriter, begin_store
from tests.groups.worlds import blobs


def samples_of(shards: Path) -> str:
    """The digest of a shard folder's samples."""
    return content_of(open_shards(str(shards))).digest


def make_store(
    folder: Path, *, samples: str, num_photos: int, per_photo: int = 2, settings: dict[str, Any] | None = None, numbers: list[int] | None = None
) -> FeatureStore:
    """Objects of three planted kinds, object `number` of each photo from 1, or as `numbers` says for each photo."""
    plan = StorePlan(checkpoint={}, data={"samples": samples}, settings=settings or {"max_objects": per_photo}, num_photos=num_photos, chunk=5)
    writer = StoreWriter(folder, plan=begin_store(folder, plan=plan))
    vectors, _ = blobs(num_photos * per_photo, num_blobs=3)
    for place, photos in enumerate(plan.chunks):
        objects: dict[str, numpy.ndarray] = {
            "photo": numpy.repeat(numpy.array(photos, dtype=numpy.int64), per_photo),
            "number": numpy.tile(numpy.array(numbers or range(1, per_photo + 1), dtype=numpy.int32), len(photos)),
            "vectors/zoom": vectors[photos.start * per_photo : photos.stop * per_photo],
        }
        writer.write(place, {"photos": {"height": numpy.array(photos, dtype=numpy.int32)}, "objects": objects})
    return writer.finish({"photos": ["height"], "objects": ["photo", "number", "vectors/zoom"]})


def make_groups(folder: Path, *, store: FeatureStore, num_groups: tuple[int, ...] = (2, 3), seed: int = 0) -> Groups:
    """Groups of the store's objects, written into `folder`."""
    objects = objects_of(store, table="objects", kinds=("zoom",), excluded_by="photo")
    settings = GroupSettings(num_groups=num_groups, neighbours=(4,), num_seeds=1, num_subsamples=0, seed=seed)
    groups = Groups(source=objects.source, grouping=find_groups(objects.views, source_of=objects.source_of, settings=settings))
    write_groups(groups, folder=folder)
    return groups
