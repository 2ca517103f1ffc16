"""Rows: the scores of all videos as rows of one table, with an interval over videos."""

from collections.abc import Sequence
from dataclasses import asdict

import numpy

from mcdist.errors import DataError
from mcdist.evaluate.metrics.bootstrap import NUM_DRAWS, SEED
from mcdist.evaluate.metrics.davis import ObjectScore, davis_score
from mcdist.records import Row, Subject
from mcdist.records.names import REGION_AND_BOUNDARY
from mcdist.video.folder import VideoScores


def davis_rows(videos: Sequence[VideoScores], *, protocol: str, encoders: Sequence[str]) -> list[Row]:
    """One row of J&F for each encoder, over the videos that have a score; details: J and F with mean, recall and decay, and J&F of each video, in %.

    Raises:
        DataError: no video has a score.
    """
    scored = [video for video in videos if not video.unscored]
    if not scored:
        reasons = "; ".join(f"{video.video}: {video.unscored}" for video in videos[:5])
        raise DataError(f"expected at least one video that can be scored, found none ({reasons}); the masks are written all the same")
    return [_row(scored, protocol=protocol, encoder=encoder) for encoder in encoders]


def _row(videos: list[VideoScores], *, protocol: str, encoder: str) -> Row:
    score = davis_score([one for video in videos for one in video.scores[encoder]])
    by_video = {video.video: 100 * davis_score(video.scores[encoder]).region_and_boundary for video in videos}
    details = {
        "num_videos": len(videos),
        "num_objects": score.num_objects,
        "J_percent": {name: 100 * value for name, value in asdict(score.region).items()},
        "F_percent": {name: 100 * value for name, value in asdict(score.boundary).items()},
        "by_video_percent": by_video,
    }
    draws = _draws([video.scores[encoder] for video in videos])
    values = (100 * score.region_and_boundary,)
    return Row(protocol=protocol, subject=Subject(encoder), metric=REGION_AND_BOUNDARY, unit="%", values=values, details=details, draws=draws)


def _draws(videos: list[tuple[ObjectScore, ...]]) -> tuple[float, ...]:
    """J&F in % of resamplings of the videos; objects of one video are drawn together, as they are alike."""
    sums = numpy.array([sum((numpy.mean(one.region) + numpy.mean(one.boundary)) / 2 for one in objects) for objects in videos])
    counts = numpy.array([len(objects) for objects in videos])
    drawn = numpy.random.default_rng(SEED).integers(len(videos), size=(NUM_DRAWS, len(videos)))
    scores = 100 * sums[drawn].sum(axis=1) / counts[drawn].sum(axis=1)
    return tuple(scores.astype(numpy.float32).tolist())
