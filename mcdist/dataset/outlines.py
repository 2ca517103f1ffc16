"""Outlines: the polygons of a mask, exact for the programs that fill them again.

Two rules of filling are in use, so there are two outlines of the same mask. COCO's reader takes the pixels whose centre is inside: its outline runs half-way
between pixels. OpenCV and Pillow also take every pixel that the outline itself touches: theirs runs through the centres of the outermost pixels. Both are
found by scikit-image's marching squares, which differ in the level alone.

A hole is part of its polygon: it is joined to the outline by a cut of no width, there and back (a keyhole), which every rule by parity fills rightly.
"""

from collections.abc import Sequence
from typing import Any

import numpy
from jaxtyping import Bool, Float
from scipy.spatial import cKDTree
from skimage.measure import find_contours, label

Ring = Float[numpy.ndarray, "_corners 2"]
"""A closed outline, x and y of its corners; the first is not repeated at the end."""

_BETWEEN = 0.5
_THROUGH_CENTRES = 1 - 1e-6
"""Levels of marching squares on a mask of 0 and 1: half-way between two pixels, and (nearly) at the centre of the one inside."""


def outlines_between(mask: Bool[numpy.ndarray, "H W"]) -> list[Ring]:
    """One polygon for each part of the mask, in px from the photo's upper left corner: pixel (column c, row r) covers c..c + 1, r..r + 1.

    Filled with the pixels whose centre is inside (pycocotools), they give the mask again, pixel for pixel.
    """
    return [_joined(_rings(part, level=_BETWEEN)) + 0.5 for part in _parts(mask)]


def outlines_through(mask: Bool[numpy.ndarray, "H W"]) -> list[Ring]:
    """One polygon for each part of the mask, in whole columns and rows of the outermost pixels. A part of one pixel is a polygon of one corner.

    Filled together with the pixels that the outline touches (OpenCV's fillPoly), they give the mask again, pixel for pixel.
    """
    return [_joined([_plain(numpy.round(ring)) for ring in _rings(part, level=_THROUGH_CENTRES)]) for part in _parts(mask)]


def joined(polygons: Sequence[Ring]) -> Ring:
    """Several polygons as one, joined by cuts of no width where they are nearest: for formats with one polygon an object."""
    return _joined(list(polygons))


def _parts(mask: Bool[numpy.ndarray, "H W"]) -> list[Bool[numpy.ndarray, "H W"]]:
    """Pixels that touch at a side or a corner are one part, as everywhere in mcdist; the largest part comes first."""
    numbered, num_parts = label(mask, connectivity=2, return_num=True)
    sizes = numpy.bincount(numbered.ravel(), minlength=num_parts + 1)[1:]
    return [numbered == 1 + number for number in numpy.argsort(-sizes, kind="stable")]


def _rings(part: Bool[numpy.ndarray, "H W"], *, level: float) -> list[Ring]:
    """The outer ring of one part, then those of its holes, in pixel centres: (0, 0) is the centre of the first pixel."""
    framed = numpy.pad(part, 1).astype(numpy.float64)
    contours = find_contours(framed, level, fully_connected="high")
    rings = [contour[:-1, ::-1] - 1 for contour in contours]
    rings.sort(key=lambda ring: -float(numpy.ptp(ring[:, 0]) * numpy.ptp(ring[:, 1])))  # only the outer one spans the whole part
    return [_plain(ring) for ring in rings]


def _plain(ring: Ring) -> Ring:
    """Without corners that repeat or are on a straight line between their neighbours."""
    ring = ring[(ring != numpy.roll(ring, 1, axis=0)).any(axis=1)] if len(ring) > 1 and (ring != ring[0]).any() else ring[:1]
    if len(ring) < 3:
        return ring
    before, after = ring - numpy.roll(ring, 1, axis=0), numpy.roll(ring, -1, axis=0) - ring
    turns = before[:, 0] * after[:, 1] - before[:, 1] * after[:, 0]
    goes_on = (before * after).sum(axis=1) > 0
    return ring[~((turns == 0) & goes_on)]


def _joined(rings: list[Ring]) -> Ring:
    """One ring through all: the nearest other ring is cut open and inserted, again and again. The shortest cut crosses no ring."""
    whole, rest = rings[0], rings[1:]
    while rest:
        tree = cKDTree(whole)
        found: list[Any] = [tree.query(ring) for ring in rest]  # scipy types the answer to one point and to many as one
        nearest = min(range(len(rest)), key=lambda place: float(found[place][0].min()))
        distances, corners = found[nearest]
        start = int(distances.argmin())
        at = int(corners[start])
        opened = numpy.roll(rest.pop(nearest), -start, axis=0)
        whole = numpy.concatenate([whole[: at + 1], opened, opened[:1], whole[at:]])
    return whole
