"""DrawnViews: views that wait for the backbone, with what was counted of each pair."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy
from jaxtyping import Int16
from torch.utils.data import Dataset

from mcdist.data.batch import Batch, collate
from mcdist.data.order import Request
from mcdist.data.photo_views import PhotoViews
from mcdist.data.views.two_views import TwoViews
from mcdist.errors import McdistError


@dataclass(frozen=True, slots=True)
class Drawn:
    """The views of some pairs, 8-bit as the loader makes them, and `counts` of each pair as `mcdist.view_cache.layout.COUNTED` names them."""

    batch: Batch
    counts: Int16[numpy.ndarray, "B 4"]


class DrawnViews(Dataset[Drawn]):
    """What `PhotoViews` makes of a request, its counts kept apart."""

    def __init__(self, views: PhotoViews) -> None:
        self.views = views

    def __getitems__(self, requests: Sequence[Request]) -> Drawn | McdistError:
        """A batch, or the error as a value, as of `PhotoViews`."""
        made = self.views.__getitems__(requests)
        if isinstance(made, McdistError):
            return made
        bad = {(sample.epoch, sample.index) for sample in made.bad}
        counts = [_counts(sample, is_bad=(request.epoch, request.index) in bad) for request, sample in zip(requests, made.samples, strict=True)]
        return Drawn(collate(made.samples), numpy.array(counts, dtype=numpy.int16))


def _counts(views: TwoViews, *, is_bad: bool) -> tuple[int, int, int, int]:
    return views.num_redrawn, int(views.emptied), views.num_dropped_objects, int(is_bad)
