"""Subsets: which photos' labels each fraction may use, as a small file that people can read, keep and hand on.

For each seed the file lists keys in a random order, as far as the largest fraction below 100 % reaches. A fraction is the first keys of the list, so
smaller fractions are in larger ones whatever the list. 100 % is every labelled photo and is not listed.
"""

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy

from mcdist.errors import ConfigError, DataError, reason
from mcdist.json_text import parse_json
from mcdist.run_dir import write_atomically

SCHEMA_VERSION = 1
_STREAM_SUBSETS = 13
_WHAT = "label subsets of mcdist finetune"


@dataclass(frozen=True, slots=True)
class Subsets:
    """`samples`: digest of the shards' samples. `num_photos`: those with a label. `orders`: by seed, the keys of the first photos of a random order."""

    samples: str
    num_photos: int
    orders: dict[int, tuple[str, ...]]

    def keys(self, *, percent: float, seed: int) -> tuple[str, ...] | None:
        """The photos of a fraction, under a seed; None for all of them."""
        return None if percent == 100 else self.orders[seed][: num_of(percent, num_photos=self.num_photos)]

    def to_json(self) -> str:
        """A key a line."""
        content = {"schema_version": SCHEMA_VERSION, "samples": self.samples, "num_photos": self.num_photos, "orders": self.orders}
        return json.dumps(content, indent=1) + "\n"


def num_of(percent: float, *, num_photos: int) -> int:
    """Photos of a fraction: rounded, a half up.

    Raises:
        ConfigError: none.
    """
    num = math.floor(num_photos * percent / 100 + 0.5)
    if num < 1:
        raise ConfigError(
            f"{percent:g} % of {num_photos} labelled photos rounds to no photo; leave it out of --fractions, or name more photos with --train-shards"
        )
    return num


def draw_subsets(keys: Sequence[str], *, samples: str, fractions_percent: Sequence[float], seeds: Sequence[int]) -> Subsets:
    """Random orders of the labelled photos' `keys`: the same for the same keys and seeds, whatever the fractions.

    Raises:
        ConfigError: a fraction rounds to no photo.
    """
    num_listed = max((num_of(percent, num_photos=len(keys)) for percent in fractions_percent if percent < 100), default=0)
    orders = {seed: numpy.random.default_rng([_STREAM_SUBSETS, seed]).permutation(len(keys))[:num_listed].tolist() for seed in seeds}
    return Subsets(samples=samples, num_photos=len(keys), orders={seed: tuple(keys[place] for place in order) for seed, order in orders.items()})


def extended(subsets: Subsets, *, drawn: Subsets) -> Subsets:
    """`subsets` with the seeds that only `drawn` has, and with its longer orders where those go on with the same photos: what is there never changes."""
    orders = dict(subsets.orders)
    for seed, order in drawn.orders.items():
        if order[: len(orders.get(seed, ()))] == orders.get(seed, ()):
            orders[seed] = order
    return Subsets(samples=subsets.samples, num_photos=subsets.num_photos, orders=orders)


def read_subsets(path: Path) -> Subsets:
    """Inverse of `Subsets.to_json`.

    Raises:
        DataError: the file cannot be read, or is something else.
    """
    try:
        content = parse_json(path.read_text(encoding="utf-8"))
        if content["schema_version"] != SCHEMA_VERSION:
            raise DataError(f"{path} has schema version {content['schema_version']!r}, this mcdist reads {SCHEMA_VERSION}; draw the subsets again")
        orders = {int(seed): _keys(order) for seed, order in content["orders"].items()}
        return Subsets(samples=str(content["samples"]), num_photos=int(content["num_photos"]), orders=orders)
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise DataError(f"{path} holds no {_WHAT} ({reason(error)}); name the subsets.json of an earlier one, or leave out --subsets") from error


def check_subsets(subsets: Subsets, *, path: Path, keys: Sequence[str], samples: str, fractions_percent: Sequence[float], seeds: Sequence[int]) -> None:
    """Raise ConfigError unless these subsets are of the labelled photos `keys`, and hold every fraction under every seed."""
    known, cure = set(keys), "name the shards that they were drawn from with --train-shards, or draw others: another --out, without --subsets"
    strange = next((key for order in subsets.orders.values() for key in order if key not in known), None)
    if strange is not None:
        raise ConfigError(f"{path} names the photo {strange!r}, which is no labelled photo of --train-shards; {cure}")
    if (subsets.samples, subsets.num_photos) != (samples, len(keys)):
        raise ConfigError(
            f"{path} was drawn from {subsets.num_photos} labelled photos (digest {subsets.samples[:12]}), --train-shards has {len(keys)} (digest "
            f"{samples[:12]}); {cure}"
        )
    for seed in seeds:
        listed = subsets.orders.get(seed)
        needed = max((num_of(percent, num_photos=len(keys)) for percent in fractions_percent if percent < 100), default=0)
        if listed is None or len(listed) < needed:
            has = "no order" if listed is None else f"{len(listed)} photos"
            raise ConfigError(f"{path} has {has} for seed {seed}, --fractions needs {needed} photos; choose smaller fractions or fewer --seeds, or {cure}")


def write_subsets(subsets: Subsets, *, path: Path) -> None:
    """Whole or not at all."""
    write_atomically(path, subsets.to_json().encode())


def _keys(order: Any) -> tuple[str, ...]:
    if not (isinstance(order, list) and all(isinstance(key, str) for key in order) and len(set(order)) == len(order)):
        raise ValueError("an order must be a list of different keys")
    return tuple(order)
