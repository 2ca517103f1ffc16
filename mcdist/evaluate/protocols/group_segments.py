"""GroupSegments: the group head's own segmentation against the ground truth. No objects, no masks and no clustering: each pixel has the head's group."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy

from mcdist.evaluate.metrics.assign import assign_segments, matching_for
from mcdist.evaluate.metrics.bootstrap import draws_of_miou
from mcdist.evaluate.metrics.confusion import class_confusion, class_iou, foreground_iou, segment_class_counts
from mcdist.evaluate.protocols.protocol import Need
from mcdist.evaluate.settings import JudgeSettings
from mcdist.evaluate.view import StoreView
from mcdist.records import Row, Subject
from mcdist.records.names import GROUP_SEGMENTS, MIOU, TRAINED


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupSegmentsSwitches:
    """How pixels become segments and segments classes: nothing to choose, but printed with the result."""

    pixel: str = "the largest upsampled logit of the groups"
    background: str = "where the head that predicts masks (evaluate.predicted_by) sees no object"


@dataclass(frozen=True, slots=True)
class GroupSegments:
    """mIoU over all pixels but void, one row for each set of the group head's groups.

    Which pixels are objects is what `evaluate.predicted_by` says: the saliency head, or the group head's own background channel. Up to as many groups as
    other classes are matched one to one to these; of more, each group is the class with most of its pixels, which may be background.
    """

    switches: GroupSegmentsSwitches
    name: str = GROUP_SEGMENTS
    needs: ClassVar[frozenset[Need]] = frozenset({"groups", "truth"})

    def judge(self, store: StoreView) -> list[Row]:
        """One row a set, by its number of groups."""
        return [self._row(store, num_groups=num_groups) for num_groups in store.group_numbers]

    def quote(self, rows: Sequence[Row]) -> int:
        """The set of the fewest groups."""
        return 0

    def _row(self, store: StoreView, *, num_groups: int) -> Row:
        """Details: groups that no pixel has, foreground IoU of the segmentation, and as of every clustering."""
        truth = store.known_truth
        of_ids = truth.labels.of_ids[:, truth.kept]
        counts = numpy.sum([photos.sum(axis=0) @ of_ids for photos in store.segments(num_groups)], axis=0)
        matching = matching_for(num_clusters=num_groups, num_classes=counts.shape[1])
        class_of = assign_segments(counts, matching=matching)
        confusion = class_confusion(counts, class_of=class_of)
        by_photo = numpy.concatenate([segment_class_counts(photos @ of_ids, class_of=class_of) for photos in store.segments(num_groups)])
        iou_percent = 100 * class_iou(confusion)
        details = {
            "num_clusters": num_groups,
            "matching": matching,
            "num_empty": int((counts[1:].sum(axis=1) == 0).sum()),
            "mask_iou_percent": 100 * foreground_iou(histograms=counts[1:], background=counts[0]),
            "class_iou_percent": iou_percent.tolist(),
            "confusion": confusion.tolist(),
        }
        present = counts.sum(axis=0) > 0
        values = (float(iou_percent[present].mean()),)
        draws = draws_of_miou([by_photo])
        return Row(protocol=self.name, subject=Subject(TRAINED), metric=MIOU, unit="%", values=values, details=details, draws=draws)


def group_segments(settings: JudgeSettings) -> GroupSegments:
    """The group head's own dense segmentation, over all pixels."""
    return GroupSegments(GroupSegmentsSwitches())
