"""Residual flow: how fast each pixel of a frame moves against the background, between two frames of a video. The only home of OpenCV (extra `motion`).

The camera's own motion is a homography between matched features, which may be large: frames are often seconds apart. The other frame is brought to this
one by it, and what dense flow is left over is the objects' own. Plain flow would have to find the camera's motion pixel by pixel, and loses it there.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy
from jaxtyping import Bool, Float32, Float64, UInt8

from mcdist.errors import MissingExtraError
from mcdist.proposals.proposal import Pixels

NUM_FEATURES = 2000
DISTINCT = 0.8
"""A match must be this much nearer than the second best (Lowe, IJCV 2004)."""
INLIER_PX = 2.0
FLOW_MIN_PX = 16
"""DIS flow takes no shorter sides than 8 px; nothing is to be seen there."""
MAX_TRIES = 5000
SURE = 0.999


@dataclass(frozen=True, slots=True)
class Frame:
    """A frame as its neighbours are compared with it: grey values, and its SIFT features: their places (x, y) and descriptors."""

    grey: UInt8[numpy.ndarray, "h w"]
    points: Float32[numpy.ndarray, "N 2"]
    descriptors: Float32[numpy.ndarray, "N 128"]


@dataclass(frozen=True, slots=True)
class ResidualFlow:
    """`speed`: px a pixel moved against the background; `seen`: where the background of the other frame shows the same place."""

    speed: Float32[numpy.ndarray, "h w"]
    seen: Bool[numpy.ndarray, "h w"]


def check_opencv() -> None:
    """Raises MissingExtraError where OpenCV is not installed."""
    _opencv()


def read_frame(photo: Pixels) -> Frame:
    """Its features; the same at every call."""
    with _one_thread() as cv2:
        grey = cv2.cvtColor(numpy.ascontiguousarray(photo), cv2.COLOR_RGB2GRAY)
        keypoints, descriptors = cv2.SIFT_create(NUM_FEATURES).detectAndCompute(grey, None)
    points = numpy.array([keypoint.pt for keypoint in keypoints], dtype=numpy.float32).reshape(-1, 2)
    return Frame(grey, points, numpy.zeros((0, 128), dtype=numpy.float32) if descriptors is None else descriptors)


def camera_motion(one: Frame, other: Frame) -> Float64[numpy.ndarray, "3 3"] | None:
    """The homography that takes the background's pixels of `one` to those of `other`; None where they do not show one scene.

    That is decided as in panoramas: of n matches more than 8 + 0.3 n agree on the homography (Brown and Lowe, IJCV 2007).
    """
    if one.grey.shape != other.grey.shape or min(one.grey.shape) < FLOW_MIN_PX or min(len(one.points), len(other.points)) < 2:
        return None
    with _one_thread() as cv2:
        pairs = cv2.BFMatcher().knnMatch(one.descriptors, other.descriptors, k=2)
        matches = [(first.queryIdx, first.trainIdx) for first, second in pairs if first.distance < DISTINCT * second.distance]
        if len(matches) <= 8:
            return None
        here, there = (points[list(indices)] for points, indices in zip((one.points, other.points), zip(*matches, strict=True), strict=True))
        homography, agree = cv2.findHomography(here, there, cv2.USAC_MAGSAC, INLIER_PX, maxIters=MAX_TRIES, confidence=SURE)
    if homography is None or agree.sum() <= 8 + 0.3 * len(matches) or abs(numpy.linalg.det(homography)) < 1e-6:
        return None
    return numpy.asarray(homography, dtype=numpy.float64)


def residual_flow(one: Frame, other: Frame, *, camera: Float64[numpy.ndarray, "3 3"]) -> ResidualFlow:
    """DIS flow (Kroeger et al., ECCV 2016) from `one` to `other` after `camera`, which takes pixels of `one` to `other`, has been undone."""
    height, width = one.grey.shape
    columns, rows = numpy.meshgrid(numpy.arange(width, dtype=numpy.float64), numpy.arange(height, dtype=numpy.float64))
    moved = numpy.tensordot(camera, numpy.stack([columns, rows, numpy.ones_like(rows)]), axes=1)
    depth = numpy.where(numpy.abs(moved[2]) < 1e-9, 1e-9, moved[2])
    x, y = (moved[:2] / depth).astype(numpy.float32)
    with _one_thread() as cv2:
        aligned = cv2.remap(other.grey, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        flow = cv2.DISOpticalFlow_create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM).calc(one.grey, aligned, None)
    speed = numpy.sqrt((flow.astype(numpy.float32) ** 2).sum(axis=-1))
    return ResidualFlow(speed, (moved[2] > 0) & (x >= 0) & (x <= width - 1) & (y >= 0) & (y <= height - 1))


def _opencv() -> Any:
    try:
        import cv2
    except ImportError as error:
        raise MissingExtraError("motion needs OpenCV; pip install 'mcdist[motion]', which the extra ffcv brings too") from error
    return cv2


@contextmanager
def _one_thread() -> Iterator[Any]:
    """OpenCV with one thread, as every worker computes: flow is found in stripes, one a thread, and would differ with their number."""
    cv2 = _opencv()
    before = cv2.getNumThreads()
    cv2.setNumThreads(1)
    try:
        yield cv2
    finally:
        cv2.setNumThreads(before)
