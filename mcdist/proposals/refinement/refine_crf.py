"""crf: a fully connected conditional random field (Kraehenbuehl, Koltun, NIPS 2011) over the pixels of a shrunk copy, solved by mean field.

Every pixel talks to every other, the louder the nearer they are and the more alike in colour. The messages are sums over a bilateral grid: pixels fall into
cells of (y, x, L), cells are blurred, pixels read theirs back; a second, spatial blur smooths. No package is needed; it costs some 0.1 s a photo.
"""

import numpy
from jaxtyping import Float32
from PIL import Image
from scipy import ndimage

from mcdist.proposals.classical.saliency import enlarged, shrunk
from mcdist.proposals.classical.superpixels import lab_of
from mcdist.proposals.proposal import Pixels, Proposal
from mcdist.proposals.refinement.layers import layers_of, objects_from_layers

SIDE_PX = 256
NUM_ROUNDS = 5
CELL_PX = 16
"""Of the bilateral grid: reach in space,"""
CELL_LAB = (9.0, 7.0, 7.0)
"""and in L, a, b."""
ALIKE_WEIGHT = 4.0
NEAR_WEIGHT = 1.0
NEAR_SIGMA_PX = 2.0
SURE = 0.75
"""How far the proposal is trusted: a pixel's chance to be what the proposal says."""


class BilateralGrid:
    """Cells of (y, x, L, a, b) that occur, and which of them touch: messages are sums over cells and their neighbours."""

    def __init__(self, lab: Float32[numpy.ndarray, "h w 3"]) -> None:
        rows, columns = numpy.indices(lab.shape[:2])
        axes = [rows // CELL_PX, columns // CELL_PX] + [numpy.floor((lab[..., i] + 128) / CELL_LAB[i]).astype(int) for i in range(3)]
        stacked = numpy.stack([axis.ravel() for axis in axes], axis=1).astype(numpy.int64)
        self.scale = (64 ** numpy.arange(5))[::-1].astype(numpy.int64)
        codes, self.cell_of = numpy.unique((stacked + 1) @ self.scale, return_inverse=True)
        self.num_cells = len(codes)
        self.pairs = [self._neighbours(codes, int(step)) for step in self.scale]
        self.weight = self._blurred(numpy.bincount(self.cell_of, minlength=self.num_cells).astype(numpy.float64))

    def _neighbours(self, codes: numpy.ndarray, step: int) -> tuple[numpy.ndarray, numpy.ndarray]:
        place = numpy.searchsorted(codes, codes + step).clip(max=len(codes) - 1)
        here = numpy.flatnonzero(codes[place] == codes + step)
        return here, place[here]

    def _blurred(self, cells: numpy.ndarray) -> numpy.ndarray:
        """Along each axis in turn: a cell and half of either neighbour."""
        for one, other in self.pairs:
            spread = cells.copy()
            spread[one] += 0.5 * cells[other]
            spread[other] += 0.5 * cells[one]
            cells = spread
        return cells

    def mean(self, values: numpy.ndarray) -> numpy.ndarray:
        """For each pixel the mean of `values` over pixels near and alike."""
        cells = numpy.bincount(self.cell_of, weights=values.ravel(), minlength=self.num_cells)
        return (self._blurred(cells) / self.weight)[self.cell_of].reshape(values.shape)


def mean_field(lab: Float32[numpy.ndarray, "h w 3"], *, layers: Float32[numpy.ndarray, "L h w"]) -> Float32[numpy.ndarray, "L h w"]:
    """Probability of each layer at each pixel; the background is what is missing to 1."""
    grid = BilateralGrid(lab)
    rest = (1 - layers.sum(axis=0, keepdims=True)).clip(0, 1)
    labels = numpy.concatenate([rest, layers])
    low = (1 - SURE) / max(len(labels) - 1, 1)
    unary = numpy.log(low + labels * (SURE - low))
    chance = numpy.exp(unary)
    chance /= chance.sum(axis=0)
    for _ in range(NUM_ROUNDS):
        alike = numpy.stack([grid.mean(one) for one in chance])
        near = ndimage.gaussian_filter(chance, sigma=(0, NEAR_SIGMA_PX, NEAR_SIGMA_PX))
        energy = unary + ALIKE_WEIGHT * alike + NEAR_WEIGHT * near
        chance = numpy.exp(energy - energy.max(axis=0))
        chance /= chance.sum(axis=0)
    return chance[1:].astype(numpy.float32)


def refine(photo: Pixels, proposal: Proposal) -> Proposal:
    """The field on a copy of SIDE_PX, brought back to the photo's size."""
    layers = layers_of(proposal)
    if layers is None:
        return proposal
    small = shrunk(photo, side_px=SIDE_PX)
    size = small.shape[1], small.shape[0]
    small_layers = numpy.stack([numpy.asarray(Image.fromarray(layer).resize(size, Image.Resampling.BOX)) for layer in layers]).clip(0, 1)
    chance = mean_field(lab_of(small), layers=small_layers)
    height, width = photo.shape[:2]
    return objects_from_layers(numpy.stack([enlarged(layer, height=height, width=width) for layer in chance]), before=proposal)
