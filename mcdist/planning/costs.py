"""Costs: what a photo takes in each stage of a discovery on this machine, and what that makes for all photos."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Costs:
    """Seconds and bytes a photo, measured on a few; `start_s`: what all stages together take before their first photo.

    `propose_s` is one worker's. `zoom_s` is of one view of the photo's objects, `view_s` of one cached pair of views, `step_s` of the photo's part in one
    epoch. `shard_bytes`, `view_bytes` (of one cached pair) and `other_bytes` (masks, vectors, maps) are on the disk of the discovery.
    """

    start_s: float
    propose_s: float
    shard_s: float
    zoom_s: float
    view_s: float
    step_s: float
    embed_s: float
    segment_s: float
    shard_bytes: float
    view_bytes: float
    other_bytes: float


@dataclass(frozen=True, slots=True)
class Estimate:
    """Seconds of each stage, in their order, and the most bytes that the folder will take at a time."""

    seconds: dict[str, float]
    num_bytes: float

    @property
    def total_s(self) -> float:
        """All stages."""
        return sum(self.seconds.values())


def estimate(costs: Costs, *, num_photos: int, num_workers: int, zoom_views: int, cached: int, epochs: int) -> Estimate:
    """What a discovery of `num_photos` takes. Grouping and clustering are not in it: they take seconds where all the rest takes minutes."""
    training_s = zoom_views * costs.zoom_s + cached * costs.view_s + epochs * costs.step_s
    per_photo = {
        "proposals": costs.propose_s / num_workers,
        "shards": costs.shard_s / num_workers,
        "training": training_s,
        "catalogue": costs.embed_s,
        "segments": costs.segment_s,
    }
    seconds = {stage: num_photos * cost_s for stage, cost_s in per_photo.items()}
    seconds["training"] += costs.start_s
    return Estimate(seconds=seconds, num_bytes=num_photos * (costs.shard_bytes + cached * costs.view_bytes + costs.other_bytes))
