"""From SAM's automatic masks, dozens that overlap, to scored masks that can be flattened: which take part, and in which order."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy

from mcdist.proposals.proposal import ScoredMask

PREFER = ("score", "large")


def scored_masks(records: Sequence[Mapping[str, Any]], *, prefer: str, area_min_share: float, area_max_share: float) -> list[ScoredMask]:
    """The masks of a photo with their scores; those of less or more than a share of its area are left out.

    Args:
        records: as SamAutomaticMaskGenerator returns them: `segmentation` bool [H, W], `predicted_iou`, `stability_score`.
        prefer: what ranks a mask before another that it overlaps. "score": predicted_iou x stability_score, as SAM is sure of it, so that a part may
            take its pixels from the whole. "large": the share of the area, so that wholes come before their parts.
        area_min_share: of the photo; below, a mask is a speck.
        area_max_share: above, it is the photo.
    """
    chosen = []
    for record in records:
        mask = numpy.asarray(record["segmentation"], dtype=bool)
        share = float(mask.mean())
        if area_min_share <= share <= area_max_share:
            sure = float(record["predicted_iou"]) * float(record["stability_score"])
            chosen.append(ScoredMask(mask, min(max(sure if prefer == "score" else share, 0.0), 1.0)))
    return chosen
