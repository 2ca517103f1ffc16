"""Labels: which class each segment is exported as, and which are void because nobody named them, or their confidence is low."""

import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

from mcdist.dataset.segments import SegmentedPhoto
from mcdist.errors import ConfigError

Unnamed = Literal["void", "classes"]
"""What becomes of clusters that nobody named: pixels about which nothing is said, or classes of their own."""

Void = Literal["low confidence", "no name", "rejected"]
"""Why a segment has no label."""

BACKGROUND_ID = 0

UNNAMED_NAME = re.compile(r"unnamed cluster (\d+)")


@dataclass(frozen=True, slots=True)
class Named:
    """What a segment is called now: its cluster; its class's id (0: background) and name, both None where nobody named its cluster; the confidence in it."""

    cluster: int
    class_id: int | None
    name: str | None
    confidence: float
    rejected: bool = False


Namer = Callable[[SegmentedPhoto], list[Named]]
"""What the segments of a photo are called, in their order."""


def as_written(photo: SegmentedPhoto) -> list[Named]:
    """The classes that the segments had when they were made."""
    return [
        Named(segment.cluster, None, None, segment.confidence)
        if not segment.class_name or UNNAMED_NAME.fullmatch(segment.class_name)
        else Named(segment.cluster, segment.class_id, segment.class_name, segment.confidence)
        for segment in photo.segments
    ]


@dataclass(frozen=True, slots=True)
class LabelRule:
    """A segment is void where its class's confidence is below `min_confidence`, and where it has no name, unless unnamed clusters are to be classes."""

    min_confidence: float
    unnamed: Unnamed = "void"

    def __post_init__(self) -> None:
        if not 0 <= self.min_confidence <= 1:
            raise ConfigError(f"--min-confidence must be in 0..1, got {self.min_confidence:g}; 0 takes every segment")

    def void_because(self, named: Named) -> Void | None:
        """Why the segment is void; None where it has a label."""
        if named.rejected:
            return "rejected"
        if named.name is None and self.unnamed == "void":
            return "no name"
        return "low confidence" if named.confidence < self.min_confidence else None


@dataclass(frozen=True, slots=True)
class ClassList:
    """The classes of a data set by id, from 1 on. Named ones have the ids that they have everywhere; unnamed clusters follow in the order of their numbers."""

    names: dict[int, str]
    of_unnamed: dict[int, int]
    """Cluster -> class id; empty where unnamed clusters are void."""

    def id_of(self, named: Named) -> int:
        """The class id of a segment that is not void."""
        return self.of_unnamed[named.cluster] if named.class_id is None else named.class_id


def class_list(named: Mapping[int, str], *, unnamed_clusters: Iterable[int]) -> ClassList:
    """The classes of a data set.

    Raises:
        ConfigError: there is none, or two have one name.
    """
    names = {class_id: name for class_id, name in sorted(named.items()) if class_id != BACKGROUND_ID}
    first = max(names, default=BACKGROUND_ID) + 1
    of_unnamed = {cluster: first + place for place, cluster in enumerate(sorted(set(unnamed_clusters)))}
    names |= {class_id: f"unnamed cluster {cluster}" for cluster, class_id in of_unnamed.items()}
    if not names:
        raise ConfigError("no cluster has a name, so that every segment would be void; name some with: mcdist view RUN, or export them with --unnamed classes")
    twice = [name for name, num in Counter(names.values()).items() if num > 1]
    if twice:
        raise ConfigError(f"two classes are called {twice[0]!r}, so that their labels could not be told apart; give one another name with: mcdist view RUN")
    return ClassList(names=names, of_unnamed=of_unnamed)
