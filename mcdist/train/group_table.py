"""GroupTable: the group of every object of the training photos, as tensors that a step looks up by sample."""

import hashlib
from dataclasses import dataclass
from pathlib import Path

import numpy
import torch
from jaxtyping import Float, Int, Int16, Shaped
from torch import Tensor

from mcdist.errors import ConfigError, DataError
from mcdist.groups.file import read_groups
from mcdist.groups.record import Groups
from mcdist.groups.source import store_digest
from mcdist.store.plan import read_plan
from mcdist.store.store import FeatureStore

PHOTO, NUMBER = "photo", "number"
"""Columns of a table of objects: the sample's index, and the object's number in its instance map, from 1."""


@dataclass(frozen=True, slots=True)
class GroupTable:
    """The groups of all samples' objects. Row [sample, i - 1, s]: object i in set s of `num_groups[s]` groups.

    `group_of`: from 0, -1 where the object has none; `confidence`: 0 to 1, 0 where it has none. `digest` names the content, wherever it came from.
    """

    group_of: Int16[Tensor, "samples O S"]
    confidence: Float[Tensor, "samples O S"]
    num_groups: tuple[int, ...]
    digest: str

    def to(self, device: torch.device) -> "GroupTable":
        """The same on `device`."""
        return GroupTable(self.group_of.to(device), self.confidence.to(device), self.num_groups, self.digest)

    def of(self, indices: Int[Tensor, " B"]) -> Int16[Tensor, "B O S"]:
        """The groups of the objects of these samples. Does not wait for the device."""
        return self.group_of[indices]


def read_group_table(folder: Path, *, num_groups: tuple[int, ...], samples: str, num_samples: int, max_objects: int, confidence_min: float = 0.0) -> GroupTable:
    """The table of the groups in `folder`, whose feature store is one of the folders beside it.

    Args:
        num_groups: the sets to take, in this order.
        samples: digest of the training samples (`mcdist.data.readers.content`), of which there are `num_samples`.
        max_objects: objects a photo that take part in training.
        confidence_min: objects below it have no group.

    Raises:
        DataError: no groups, no store beside them, or one of the two is damaged.
        ConfigError: groups of other samples, of other objects (another `max_objects`), a number of groups that was not made, or no group at all.
    """
    groups = read_groups(folder)
    store = store_beside(folder, groups=groups)
    table = groups.source.table
    groups.check(store=store_digest(store), num_objects=store.num_rows(table), where=folder)
    _check_samples(store, samples=samples, num_samples=num_samples, max_objects=max_objects, groups=folder)
    photo, number = (store.column(table, name).read().astype(numpy.int64) for name in (PHOTO, NUMBER))
    _check_objects(store, photo, number, num_samples=num_samples, max_objects=max_objects)
    _check_numbers(groups, num_groups=num_groups, folder=folder)
    sets = [groups.grouping.of(num) for num in num_groups]
    group_of = numpy.stack([numpy.where(found.confidence >= confidence_min, found.group, -1) for found in sets], axis=1)
    confidence = numpy.stack([found.confidence for found in sets], axis=1)
    for num, rows in zip(num_groups, group_of.T, strict=True):
        if not (rows >= 0).any():
            raise ConfigError(
                f"none of the {len(rows):,} objects of {folder} belongs to one of its {num} groups with a confidence of at least {confidence_min:g}: "
                "there is nothing to learn; make other groups, or lower groups.confidence_min"
            )
    return make_group_table(photo, number, group_of=group_of, confidence=confidence, num_groups=num_groups, num_samples=num_samples, max_objects=max_objects)


def make_group_table(
    photo: Int[numpy.ndarray, " N"],
    number: Int[numpy.ndarray, " N"],
    *,
    group_of: Int[numpy.ndarray, "N S"],
    confidence: Float[numpy.ndarray, "N S"],
    num_groups: tuple[int, ...],
    num_samples: int,
    max_objects: int,
) -> GroupTable:
    """The table of N objects: object `number` (from 1) of sample `photo`. Objects that are not listed have no group."""
    groups = numpy.full((num_samples, max_objects, len(num_groups)), -1, dtype=numpy.int16)
    sure = numpy.zeros(groups.shape, dtype=numpy.float32)
    groups[photo, number - 1], sure[photo, number - 1] = group_of, confidence
    digest = hashlib.sha256(repr((groups.shape, num_groups)).encode() + groups.astype("<i2").tobytes()).hexdigest()
    return GroupTable(torch.from_numpy(groups), torch.from_numpy(sure), num_groups, digest)


def store_beside(folder: Path, *, groups: Groups) -> FeatureStore:
    """The feature store that the groups in `folder` were made of, among the folders beside it.

    Raises:
        DataError: there is none.
    """
    for path in sorted(folder.resolve().parent.iterdir()):
        try:
            is_source = path.is_dir() and read_plan(path) is not None and store_digest(FeatureStore(path)) == groups.source.store
        except DataError:
            continue
        if is_source:
            return FeatureStore(path)
    raise DataError(
        f"expected the feature store that the groups {folder} were made of (digest {groups.source.store[:12]}) in a folder beside them, found none in "
        f"{folder.resolve().parent}; put it there, or run mcdist group on it again"
    )


def _check_numbers(groups: Groups, *, num_groups: tuple[int, ...], folder: Path) -> None:
    there = [found.num_groups for found in groups.grouping.sets]
    if not set(num_groups) <= set(there):
        raise ConfigError(
            f"groups.num_groups={list(num_groups)} names numbers of groups that {folder} does not have, it has {', '.join(map(str, there))}; name some of "
            f"these, or make the others too: mcdist group STORE --groups {','.join(map(str, num_groups))}"
        )


def _check_samples(store: FeatureStore, *, samples: str, num_samples: int, max_objects: int, groups: Path) -> None:
    data, settings = store.manifest.plan.data, store.manifest.plan.settings
    if data.get("samples") != samples or store.num_photos != num_samples:
        raise ConfigError(
            f"the groups {groups} are of the {store.num_photos:,} photos of {store.folder} (samples {str(data.get('samples'))[:12]}), data.train names "
            f"{num_samples:,} others (samples {samples[:12]}); name the shards that the groups were made of, or make groups of these"
        )
    if settings.get("max_objects", max_objects) != max_objects:
        raise ConfigError(
            f"the groups {groups} are of at most {settings['max_objects']} objects a photo, views.max_objects is {max_objects}, with which objects have "
            f"other numbers; set views.max_objects={settings['max_objects']}, or make the groups again"
        )


def _check_objects(store: FeatureStore, photo: Shaped[numpy.ndarray, " N"], number: Shaped[numpy.ndarray, " N"], *, num_samples: int, max_objects: int) -> None:
    if len(photo) and (photo.min() < 0 or photo.max() >= num_samples or number.min() < 1):
        raise DataError(f"the objects of {store.folder} are damaged: photos {photo.min()} to {photo.max()} of {num_samples}, numbers from {number.min()}")
    if len(number) and number.max() > max_objects:
        raise ConfigError(
            f"the store {store.folder} has a photo with object {number.max()}, views.max_objects is {max_objects}; with fewer objects a photo they have other "
            f"numbers: set views.max_objects={number.max()} or more, or make the groups again"
        )
    if len(numpy.unique(photo * (max_objects + 1) + number)) < len(photo):
        raise DataError(f"the store {store.folder} lists an object twice; make it again")
