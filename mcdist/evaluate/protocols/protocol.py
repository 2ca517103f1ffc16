"""Protocol: how a feature store is judged. Its name and switches are printed with every result."""

import json
import typing
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any, Literal

from mcdist.evaluate.painting import Painting
from mcdist.evaluate.view import StoreView
from mcdist.records import Retrieved, Row

Need = Literal["objects", "patches", "mirrored patches", "decoded", "groups", "truth", "label maps", "train labels", "video"]
"""objects: object vectors. patches: feature maps. mirrored patches: those of the mirrored photos too. decoded: the features that the trained embedding is
linear in. groups: segments of a group head. truth: the ground truth of the judged photos, counted. label maps: the same, pixel by pixel. train labels: a
second store, of other photos with ground truth, which holds the same. video: photos that are frames in order."""


@typing.runtime_checkable
class Protocol(typing.Protocol):
    """A way to judge. Frozen: the same protocol on the same store gives the same rows."""

    @property
    def name(self) -> str:
        """As in the registry."""
        ...

    @property
    def needs(self) -> frozenset[Need]:
        """What the store must hold."""
        ...

    @property
    def switches(self) -> Any:
        """Every choice that changes the result, as a frozen dataclass."""
        ...

    def judge(self, store: StoreView) -> list[Row]:
        """The rows, in reading order."""
        ...

    def quote(self, rows: Sequence[Row]) -> int:
        """The place in `rows`, as `judge` gave them, of the row to show first."""
        ...


@typing.runtime_checkable
class Painter(typing.Protocol):
    """A protocol that gives each object a class."""

    def paint(self, store: StoreView, *, row: Row) -> Painting:
        """The classes of the objects behind a row of `judge`."""
        ...


@typing.runtime_checkable
class Retriever(typing.Protocol):
    """A protocol that finds the nearest of the objects that it was fitted on."""

    def retrieved(self, store: StoreView, *, row: Row) -> tuple[Retrieved, ...]:
        """What a few objects behind a row of `judge` found."""
        ...


def switches_of(protocol: Protocol) -> dict[str, Any]:
    """The switches as plain JSON values."""
    return json.loads(json.dumps(asdict(protocol.switches)))
