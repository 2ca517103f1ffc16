"""Costs: what a photo takes in each stage of a discovery on this machine, and what that makes for all photos."""

from dataclasses import dataclass

WORKER_STARTS = {"proposals": 1, "training": 3, "catalogue": 1, "segments": 1}
"""How often a stage starts worker processes: training does to zoom, to cache views and to read them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Costs:
    """Seconds and bytes a photo, measured on a few; `start_s`: what all stages together take before their first photo.

    `propose_s` is one worker's. `zoom_s` is of one view of the photo's objects, `view_s` of one cached pair of views, `step_s` of the photo's part in one
    epoch, `group_s` of its part of the groups. `report_s` is the whole report's, which hardly depends on the number of photos, `worker_s` that of one start
    of worker processes. `shard_bytes`, `view_bytes` (of one cached pair) and `other_bytes` (masks, vectors, maps) are on the disk of the discovery.
    Records of earlier versions lack `group_s`, `report_s` and `worker_s`.
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
    group_s: float = 0.0
    report_s: float = 0.0
    worker_s: float = 0.0


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
    """What a discovery of `num_photos` takes."""
    training_s = zoom_views * costs.zoom_s + costs.group_s + cached * costs.view_s + epochs * costs.step_s
    per_photo = {
        "proposals": costs.propose_s / num_workers,
        "shards": costs.shard_s / num_workers,
        "training": training_s,
        "catalogue": costs.embed_s,
        "report": 0.0,
        "segments": costs.segment_s,
    }
    seconds = {stage: num_photos * cost_s + WORKER_STARTS.get(stage, 0) * costs.worker_s for stage, cost_s in per_photo.items()}
    seconds["training"] += costs.start_s
    seconds["report"] += costs.report_s
    return Estimate(seconds=seconds, num_bytes=num_photos * (costs.shard_bytes + cached * costs.view_bytes + costs.other_bytes))
