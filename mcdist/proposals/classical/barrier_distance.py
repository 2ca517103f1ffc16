"""barrier_distance: Zhang, Sclaroff, Lin, Shen, Price, Mech, "Minimum Barrier Salient Object Detection at 80 FPS", ICCV 2015.

How high a barrier every path from a pixel to the border must cross: the least over paths of (greatest - least value on the path). The paper visits pixel
after pixel; here a pass sweeps down, up, right and left with whole rows and columns at once, which finds nearly the same paths and runs in numpy.
"""

import numpy
from jaxtyping import Float32
from PIL import Image

from mcdist.proposals.classical.saliency import SaliencyMethod, View, scaled

NAME, VERSION = "barrier_distance", "1"

NUM_PASSES = 2
BORDER_SHARE = 0.1
"""Of the shorter side: the strips whose colours are taken as the background's."""


def barrier_distance(channels: Float32[numpy.ndarray, "C h w"], *, num_passes: int = NUM_PASSES) -> Float32[numpy.ndarray, "C h w"]:
    """Minimum barrier distance of every pixel to the border, a channel at a time. O(passes * C h w)."""
    highest, lowest = channels.copy(), channels.copy()
    cost = numpy.full(channels.shape, numpy.inf, dtype=numpy.float32)
    cost[:, [0, -1], :] = 0
    cost[:, :, [0, -1]] = 0
    height, width = channels.shape[1:]
    for _ in range(num_passes):
        for values in (channels, channels.transpose(0, 2, 1)):
            transposed = values is not channels
            state = [array.transpose(0, 2, 1) if transposed else array for array in (highest, lowest, cost)]
            length = width if transposed else height
            _sweep(values, *state, order=range(1, length), step=-1)
            _sweep(values, *state, order=range(length - 2, -1, -1), step=1)
    return cost


def _sweep(values: numpy.ndarray, highest: numpy.ndarray, lowest: numpy.ndarray, cost: numpy.ndarray, *, order: range, step: int) -> None:
    """Each row takes over the path of the row before it, where that is lower."""
    for row in order:
        high = numpy.maximum(highest[:, row + step], values[:, row])
        low = numpy.minimum(lowest[:, row + step], values[:, row])
        barrier = high - low
        better = barrier < cost[:, row]
        numpy.copyto(cost[:, row], barrier, where=better)
        numpy.copyto(highest[:, row], high, where=better)
        numpy.copyto(lowest[:, row], low, where=better)


def border_contrast(lab: Float32[numpy.ndarray, "h w 3"]) -> Float32[numpy.ndarray, "h w"]:
    """Mahalanobis distance to the colours of each border strip; the nearest strip does not count, for the object may touch it. 0..1."""
    height, width = lab.shape[:2]
    strip = max(1, round(BORDER_SHARE * min(height, width)))
    maps = []
    for pixels in (lab[:strip], lab[-strip:], lab[:, :strip], lab[:, -strip:]):
        colours = pixels.reshape(-1, 3).astype(numpy.float64)
        inverse = numpy.linalg.inv(numpy.cov(colours.T) + 5.0 * numpy.eye(3))
        offset = lab - colours.mean(axis=0)
        maps.append(scaled(numpy.sqrt(numpy.einsum("hwi,ij,hwj->hw", offset, inverse, offset))))
    stacked = numpy.stack(maps)
    return scaled(stacked.sum(axis=0) - stacked.max(axis=0))


def saliency_of(lab: Float32[numpy.ndarray, "h w 3"], *, side_px: int) -> Float32[numpy.ndarray, "h w"]:
    """The paper's MB+ without its last sharpening: barrier distance plus border contrast, 0..1."""
    height, width = lab.shape[:2]
    scale = min(1.0, side_px / max(height, width))
    size = max(2, round(width * scale)), max(2, round(height * scale))
    small = numpy.stack([numpy.asarray(Image.fromarray(lab[..., channel]).resize(size, Image.Resampling.BOX)) for channel in range(3)])
    barrier = scaled(barrier_distance(small).sum(axis=0))
    both = scaled(barrier + border_contrast(small.transpose(1, 2, 0)))
    return scaled(numpy.asarray(Image.fromarray(both).resize((width, height), Image.Resampling.BILINEAR)))


class BarrierDistance(SaliencyMethod):
    """See the module."""

    def saliency(self, view: View) -> Float32[numpy.ndarray, "h w"]:
        """0..1 at working size."""
        return saliency_of(view.lab, side_px=self.parameters["barrier_px"])


def make(*, device: str = "cpu", side_px: int = 256, barrier_px: int = 160, threshold: str = "otsu", split: bool = False) -> BarrierDistance:
    """`side_px`: long side of the working copy; `barrier_px`: of the copy on which barriers are found."""
    return BarrierDistance(NAME, VERSION, {"side_px": side_px, "barrier_px": barrier_px, "threshold": threshold, "split": split})
