"""Source: an ordered list of photos and how each becomes the members of one shard sample."""

import hashlib
import re
from collections import Counter
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Protocol, runtime_checkable

from mcdist.data.pictures.folder import is_text
from mcdist.errors import DataError

Option = str | int | float | bool | None
"""What a builder's option may be: it is kept in the manifest as JSON."""

MAX_KEY_LENGTH = 80
MAX_SKIPPED_SHARE = 0.05
"""COCO leaves 1 % without objects; a mistaken folder leaves nearly all. A build stops between the two."""


@dataclass(frozen=True, slots=True)
class Item:
    """One photo that a shard should hold, not read yet.

    `key` names the sample in its tar; `photo` names the photo for people. `identity` changes with the content (sizes of the files, a seed) and is part of
    the manifest; `state` changes with any touch of the files (time stamps) and only decides whether a half-finished build may keep a shard.
    `problem` is what planning already found wrong with it: the item stays on the list, so that it is skipped, counted and listed like any other.
    """

    key: str
    photo: str
    identity: str
    state: str = ""
    problem: str = ""

    def refuse_if_problem(self) -> None:
        """Raises DataError with the problem, where there is one."""
        if self.problem:
            raise DataError(self.problem)


@dataclass(frozen=True, slots=True)
class Photo:
    """One photo as a shard keeps it: the bytes of every member by its name, and notes worth counting, such as "CMYK converted to RGB"."""

    key: str
    members: dict[str, bytes]
    notes: tuple[str, ...] = ()


@runtime_checkable
class Source(Protocol):
    """A data set to build shards of. It travels to worker processes without its items, so it is a dataclass that can be pickled; an item needs no other."""

    @property
    def name(self) -> str:
        """`voc`, `coco`, `folder`, `tree`, `tar` or `demo`: what the manifest calls it."""
        ...

    @property
    def options(self) -> dict[str, Option]:
        """The settings that decide the bytes of the samples. No absolute paths: the same data elsewhere gives the same manifest."""
        ...

    @property
    def items(self) -> tuple[Item, ...]:
        """Every photo, in shard order."""
        ...

    def make(self, item: Item) -> Photo:
        """Read and check one photo with its masks.

        Raises:
            DataError: the photo cannot take part; the sentence says why and what to do.
        """
        ...


def problem_item(photo: str, *, problem: str) -> Item:
    """An item that cannot take part; its key names no sample. Bytes in a name that are no text are shown as escapes."""
    photo, problem = (text.encode(errors="backslashreplace").decode() for text in (photo, problem))
    return Item(key=f"problem-{hashlib.sha256(photo.encode()).hexdigest()[:12]}", photo=photo, identity=problem, problem=problem)


def hostile(name: str) -> bool:
    """Whether a relative path from a list or an archive leads out of its folder, or is none, or no text."""
    path = PurePosixPath(name)
    return not name or "\0" in name or "\\" in name or path.is_absolute() or ".." in path.parts or not path.name or not is_text(name)


def strange_item(name: str) -> Item:
    """The item of a photo whose name is not `is_text`."""
    return problem_item(name, problem=f"the name {name} is no UTF-8; rename the photo")


def digest_of(items: tuple[Item, ...]) -> str:
    """One short name for what a list of items holds: equal lists of keys and identities give equal names."""
    digest = hashlib.sha256()
    for item in items:
        digest.update(f"{item.key}\0{item.identity}\n".encode())
    return digest.hexdigest()[:16]


def safe_keys(names: list[str]) -> list[str]:
    """Sample keys of relative paths without suffix: `a/b.c` becomes `a__b_c`, since a tar sample's key ends at the first dot.

    Keys are ASCII, at most `MAX_KEY_LENGTH` long and unique: a name that would clash or is too long ends in a hash of itself.
    """
    plain = [re.sub(r"[^A-Za-z0-9_-]", "_", name.replace("/", "__")) or "_" for name in names]
    taken = Counter(plain)
    return [
        key if taken[key] == 1 and len(key) <= MAX_KEY_LENGTH else f"{key[: MAX_KEY_LENGTH - 13]}-{hashlib.sha256(name.encode()).hexdigest()[:12]}"
        for key, name in zip(plain, names, strict=True)
    ]
