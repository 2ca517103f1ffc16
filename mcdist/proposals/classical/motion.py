"""motion: what moves against the background of its video and stands out in its frames. A folder's photos, in the order of their names, are its frames.

A frame's saliency (`ensemble`) times how fast each superpixel moves (`residual_flow`, both neighbours) is cut softly and says how often each colour occurs
inside and outside near each place, over the frames before and after (as non-local consensus does: Faktor and Irani, BMVC 2014). The two together, by
Bayes' rule, are the probability that a superpixel is of the object.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy
from jaxtyping import Float32, Int32

from mcdist.proposals.classical.colour_side import colour_side
from mcdist.proposals.classical.ensemble import SAME_COLOUR, SOFTNESS, Ensemble
from mcdist.proposals.classical.ensemble import make as make_ensemble
from mcdist.proposals.classical.residual_flow import ResidualFlow, camera_motion, check_opencv, read_frame, residual_flow
from mcdist.proposals.classical.saliency import View, check_threshold, enlarged, otsu, proposal_of, scaled, shrunk
from mcdist.proposals.components import AREA_MIN_SHARE
from mcdist.proposals.proposal import Method, Pixels, Proposal, check_least

NAME, VERSION = "motion", "1"

STILL_PX = 0.5
"""A frame that moves by less is still: flow is no more exact."""
SAME_PLACE = 0.2
"""Kernel width of the colour model in the frame, 0..1."""
NEAR_FRAMES = 15
"""Frames of a shot before and after that share a colour model (Faktor and Irani's)."""

NO_MOTION = "no motion seen: proposed by its colours alone"


@dataclass(frozen=True, slots=True)
class Seen:
    """A frame's superpixels: their labels, mean colour and place as the colour model compares them, share of the area, and how likely each is inside.

    `shot`: the number of its shot.
    """

    labels: Int32[numpy.ndarray, "h w"]
    places: Float32[numpy.ndarray, "S 5"]
    areas: Float32[numpy.ndarray, " S"]
    inside: Float32[numpy.ndarray, " S"]
    moves: bool
    shot: int


class Motion(Method):
    """See the module."""

    scope = "folder"
    max_side_px = 960

    def __post_init__(self) -> None:
        check_threshold(self.parameters["threshold"], method=self.name)
        check_least(self.parameters, method=self.name)

    def propose_all(self, photos: Sequence[Pixels], *, names: Sequence[str]) -> list[Proposal]:
        """All frames of one video, or photos that are none: those have a note."""
        wanted = self.parameters
        ensemble = make_ensemble(side_px=wanted["side_px"], superpixels=wanted["superpixels"])
        copies = [shrunk(photo, side_px=wanted["side_px"]) for photo in photos]
        frames = [see(copy, speed=speed, shot=shot, ensemble=ensemble) for copy, (speed, shot) in zip(copies, watch(copies), strict=True)]
        return [
            self._proposal(photo, frame=frame, inside=of_object(frames, place=place)) for place, (photo, frame) in enumerate(zip(photos, frames, strict=True))
        ]

    def _proposal(self, photo: Pixels, *, frame: Seen, inside: Float32[numpy.ndarray, " S"]) -> Proposal:
        found = proposal_of(enlarged(inside[frame.labels], height=photo.shape[0], width=photo.shape[1]), parameters=self.parameters)
        return Proposal(found.instances, confidence=found.confidence, notes=() if frame.moves else (NO_MOTION,))


def watch(copies: Sequence[Pixels]) -> list[tuple[Float32[numpy.ndarray, "h w"] | None, int]]:
    """How fast each pixel of a frame moves against the background, px from frame to frame, None where it fits to neither neighbour; and its shot's number.

    A shot lasts as long as neighbouring frames show one scene.
    """
    frames = [read_frame(copy) for copy in copies]
    flows: list[list[ResidualFlow]] = [[] for _ in frames]
    shots = [0]
    for place, (one, other) in enumerate(zip(frames, frames[1:], strict=False)):
        camera = camera_motion(one, other)
        shots.append(shots[-1] + (camera is None))
        if camera is not None:
            flows[place].append(residual_flow(one, other, camera=camera))
            flows[place + 1].append(residual_flow(other, one, camera=numpy.linalg.inv(camera)))
    return [(together(found) if found else None, shot) for found, shot in zip(flows, shots, strict=True)]


def together(flows: Sequence[ResidualFlow]) -> Float32[numpy.ndarray, "h w"]:
    """Geometric mean of the speeds where they were seen, 0 elsewhere: what one side alone finds is a place that the object covers or uncovers."""
    seen = numpy.stack([flow.seen for flow in flows])
    logs = numpy.stack([numpy.log(numpy.maximum(flow.speed, 1e-3)) for flow in flows])
    mean = (logs * seen).sum(axis=0) / numpy.maximum(seen.sum(axis=0), 1)
    return numpy.where(seen.any(axis=0), numpy.exp(mean), 0).astype(numpy.float32)


def share_of_fastest(speed: Float32[numpy.ndarray, "h w"] | None) -> Float32[numpy.ndarray, "h w"] | None:
    """0..1: speed as a share of that of the fastest part which is large enough for an object; None where the frame is still or its speed unknown."""
    if speed is None:
        return None
    fastest = float(numpy.quantile(speed, 1 - AREA_MIN_SHARE))
    return (speed / fastest).clip(0, 1).astype(numpy.float32) if fastest > STILL_PX else None


def see(copy: Pixels, *, speed: Float32[numpy.ndarray, "h w"] | None, shot: int, ensemble: Ensemble) -> Seen:
    """A frame's superpixels, and how likely each is inside by its saliency and its own motion."""
    superpixels, saliency = ensemble.superpixel_saliency(View(copy))
    moving = share_of_fastest(speed)
    both = saliency if moving is None else scaled(saliency * superpixels.mean_of(moving))
    return Seen(
        labels=superpixels.labels.astype(numpy.int32),
        places=numpy.concatenate([superpixels.colours / SAME_COLOUR, superpixels.centres / SAME_PLACE], axis=1),
        areas=superpixels.areas / superpixels.labels.size,
        inside=(1 / (1 + numpy.exp(-(both - otsu(both)) / SOFTNESS))).astype(numpy.float32),
        moves=moving is not None,
        shot=shot,
    )


def of_object(frames: Sequence[Seen], *, place: int) -> Float32[numpy.ndarray, " S"]:
    """The probability that each superpixel of frame `place` is of the object, by its own inside and by what its colour is near there in the shot."""
    own = frames[place]
    around = [frame for frame in frames[max(0, place - NEAR_FRAMES) : place + NEAR_FRAMES + 1] if frame.shot == own.shot]
    places, areas, inside = (numpy.concatenate([getattr(frame, key) for frame in around]) for key in ("places", "areas", "inside"))
    squares = (own.places**2).sum(axis=1)[:, None] + (places**2).sum(axis=1)[None, :] - 2 * own.places @ places.T
    side = colour_side(numpy.exp(-numpy.maximum(squares, 0) / 2), within=areas * inside, without=areas * (1 - inside))
    yes, no = own.inside * side, (1 - own.inside) * (1 - side)
    return (yes / (yes + no + 1e-9)).astype(numpy.float32)


def make(*, device: str = "cpu", side_px: int = 427, superpixels: int = 600, threshold: str = "0.5", split: bool = False) -> Motion:
    """`side_px`: long side of the working copy; `superpixels`: how many.

    Raises:
        MissingExtraError: OpenCV is not installed.
    """
    check_opencv()
    return Motion(NAME, VERSION, {"side_px": side_px, "superpixels": superpixels, "threshold": threshold, "split": split})
