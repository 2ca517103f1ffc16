"""Tables: the columns of a zoom store. `photos` has a row for each photo, `objects` one for each object that has a pixel."""

import numpy

from mcdist.data.shards.sample import Sample
from mcdist.data.views.objects import Numbering
from mcdist.evaluate.table_names import AREA_PX, BOX, DROPPED, HEIGHT, NUMBER, PHOTO, WIDTH
from mcdist.model.backbones.backbone import Backbone
from mcdist.store.names import PHOTOS, VECTORS
from mcdist.store.store import FeatureStore
from mcdist.zoom.extents import Extents
from mcdist.zoom.vectors import LAST, ZOOM, kinds_of

OBJECTS = "objects"
"""The objects of the photos' own masks; NUMBER is an object's number in the maps that training sees."""
BAD = "bad"
"""Of a photo: 1 where it could not be read and gave no object. DROPPED: its objects beyond the limit."""

Tables = dict[str, dict[str, numpy.ndarray]]
"""Table -> column -> values, a row each."""


def vectors_of(kind: str) -> str:
    """The column of object vectors of a kind, in fp16.

    Rounding moved no cosine of 800 objects by more than 6e-5, before or after the mean was taken off, which changes a weight of the graph by 0.02 % at
    most; it takes half of the disk, 6 GB instead of 13 for a million objects.
    """
    return f"{VECTORS}{kind}"


def kinds_in(store: FeatureStore) -> tuple[str, ...]:
    """The kinds of vectors that a zoom store holds, each once."""
    return tuple(name.removeprefix(VECTORS) for name in store.manifest.columns[OBJECTS] if name.startswith(VECTORS))


def layout(backbone: Backbone, *, num_views: int) -> dict[str, list[str]]:
    """Table -> columns written with this backbone and so many views."""
    return {PHOTOS: [HEIGHT, WIDTH, DROPPED, BAD], OBJECTS: [PHOTO, NUMBER, AREA_PX, BOX, *map(vectors_of, kinds_of(backbone, num_views=num_views))]}


def aliases(backbone: Backbone) -> tuple[tuple[str, str, str], ...]:
    """A network without a last convolution has its last block alone, under both names."""
    return () if backbone.last_convolution is not None else ((OBJECTS, vectors_of(ZOOM), vectors_of(LAST)),)


def rows_of(sample: Sample, *, index: int, is_bad: bool, numbering: Numbering, extents: Extents) -> Tables:
    """The rows of one photo, `index` in the data set, without the vectors."""
    height, width = sample.instances.shape
    photo = {HEIGHT: height, WIDTH: width, DROPPED: numbering.num_dropped, BAD: int(is_bad)}
    return {
        PHOTOS: {name: numpy.array([value], dtype=numpy.int32) for name, value in photo.items()},
        OBJECTS: {
            PHOTO: numpy.full(len(extents.number), index, dtype=numpy.int64),
            NUMBER: extents.number.astype(numpy.int32),
            AREA_PX: extents.area_px,
            BOX: extents.box,
        },
    }


def concatenated(pieces: list[Tables]) -> Tables:
    """The rows of all pieces, in order."""
    return {table: {name: numpy.concatenate([piece[table][name] for piece in pieces]) for name in columns} for table, columns in pieces[0].items()}
