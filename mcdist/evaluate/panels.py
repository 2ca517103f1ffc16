"""Panels: a few photos, spread evenly over the set, kept to be shown side by side."""

from dataclasses import dataclass, field

import numpy
import torch
from jaxtyping import Float, Int, Int16, UInt8
from torch.nn.functional import interpolate

from mcdist.evaluate.embed import PREDICTED
from mcdist.evaluate.labels import VOID_CLASS
from mcdist.records import Panel


@dataclass(frozen=True, slots=True)
class Draft:
    """A photo before the clusters are known. `row_of` gives, by masks, the row of each object number in the table of objects, -1 for none."""

    key: str
    photo: UInt8[numpy.ndarray, "H W 3"]
    proposals: Int16[numpy.ndarray, "H W"]
    saliency: Float[numpy.ndarray, "S S"]
    predicted: Int16[numpy.ndarray, "H W"]
    row_of: dict[str, Int[numpy.ndarray, " _"]]
    truth: UInt8[numpy.ndarray, "H W"]


@dataclass(slots=True)
class EvenSpread:
    """Keeps drafts evenly over a stream of unknown length: every `stride`-th photo; past twice `num_wanted` every second one goes and the stride doubles."""

    num_wanted: int
    stride: int = 1
    kept: list[Draft] = field(default_factory=list)

    def wants(self, index: int) -> bool:
        """Whether photo `index` of the stream should be added."""
        return self.num_wanted > 0 and index % self.stride == 0

    def add(self, draft: Draft) -> None:
        """Keep a draft that was wanted."""
        self.kept.append(draft)
        if len(self.kept) > 2 * self.num_wanted:
            self.kept, self.stride = self.kept[::2], 2 * self.stride

    def chosen(self) -> list[Draft]:
        """At most `num_wanted` drafts, evenly over what was kept, in order."""
        places = numpy.linspace(0, len(self.kept) - 1, min(self.num_wanted, len(self.kept))).round().astype(int)
        return [self.kept[place] for place in places]


def finish_panel(
    draft: Draft,
    *,
    masks: str,
    class_of_object: Int[numpy.ndarray, " O"],
    class_of_background: int,
    new_index: UInt8[numpy.ndarray, " 256"] | None,
) -> Panel:
    """The panel of a draft, whose objects of `masks` were clustered. `new_index` renumbers the truth's classes to those evaluated; None: there is no truth."""
    row_of = numpy.concatenate([[-1], draft.row_of[masks]])
    objects = draft.predicted if masks == PREDICTED else draft.proposals.clip(0)
    class_of_number = numpy.where(row_of >= 0, numpy.append(class_of_object, 0)[row_of], class_of_background)
    height, width = draft.truth.shape
    probability = torch.sigmoid(torch.from_numpy(draft.saliency))[None, None]
    return Panel(
        key=draft.key,
        photo=draft.photo,
        proposals=draft.proposals,
        saliency=interpolate(probability, size=(height, width), mode="bilinear", align_corners=False)[0, 0].numpy(),
        clusters=class_of_number[numpy.where(objects < len(class_of_number), objects, 0)].astype(numpy.uint8),
        truth=None if new_index is None else new_index[draft.truth],
    )


def renumbering(kept_classes: Int[numpy.ndarray, " C"]) -> UInt8[numpy.ndarray, " 256"]:
    """Old class index -> place in `kept_classes`, VOID_CLASS for all others."""
    new_index = numpy.full(256, VOID_CLASS, dtype=numpy.uint8)
    new_index[kept_classes] = numpy.arange(len(kept_classes))
    return new_index
