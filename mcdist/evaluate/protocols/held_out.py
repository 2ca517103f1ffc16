"""HeldOut: the tenth of the photos to fit on that hyperparameters are chosen by, and the standardiser that is fitted on the others. CAPI's probes."""

from dataclasses import dataclass

import numpy
from jaxtyping import Bool, Int, UInt8

from mcdist.errors import DataError
from mcdist.evaluate.probes.moments import LinearMap, Moments, standardiser
from mcdist.evaluate.probes.patch_labels import majority, patch_counts
from mcdist.evaluate.protocols.patch_pieces import PatchPieces

SHARE = 10
"""One photo in so many is held out."""


@dataclass(frozen=True, slots=True)
class HeldOut:
    """`fitted` and `chosen_by` are all photos between them; `scaling` standardises by `fitted`."""

    fitted: PatchPieces
    chosen_by: PatchPieces
    scaling: LinearMap


def held_out(source: PatchPieces, *, seed: int) -> HeldOut:
    """Split the photos at random.

    Raises:
        DataError: there are fewer than two photos.
    """
    num = len(source.photos)
    if num < 2:
        raise DataError(f"a probe holds out a tenth of the photos that it is fitted on, which takes at least 2, got {num}; name more with --train-shards")
    order = numpy.random.default_rng(seed).permutation(num)
    num_out = max(1, num // SHARE)
    out, fitted = source.only(numpy.sort(source.photos[order[:num_out]])), source.only(numpy.sort(source.photos[order[num_out:]]))
    moments = Moments(source.num_dims, joint=False)
    for piece in fitted.pieces():
        moments.add(piece.vectors)
    return HeldOut(fitted, out, standardiser(moments))


def patch_classes(source: PatchPieces, photos: Int[numpy.ndarray, " B"], *, num_classes: int, with_void: bool) -> UInt8[numpy.ndarray, " N"]:
    """The majority class of every patch of some photos, void where it is; such a patch is not fitted on."""
    labels = source.maps.squares(photos.tolist(), size_px=source.size_px)
    height, width = source.grid
    return majority(patch_counts(labels, height=height, width=width, num_classes=num_classes), with_void=with_void).reshape(-1)


def known(classes: UInt8[numpy.ndarray, " N"], *, num_classes: int) -> Bool[numpy.ndarray, " N"]:
    """Patches that have a class."""
    return classes < num_classes
