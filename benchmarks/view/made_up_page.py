"""The application of a made-up catalogue's page: for the benchmark, and for tests."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy

from benchmarks.view.made_up import MadeUp
from mcdist.catalogue.names_file import NamesFile
from mcdist.gallery.app import make_app
from mcdist.gallery.dropped import DroppedPhotos, Segmented
from mcdist.gallery.pictures import Pictures
from mcdist.gallery.session import Session


@dataclass(frozen=True)
class Page:
    """Names are in `names`; `app` is to be put behind its guard."""

    made: MadeUp
    names: NamesFile
    session: Session
    app: Any


def make_page(made: MadeUp, *, folder: Path) -> Page:
    """A page whose names and thumbnails are kept in `folder`. A photo that is dropped has two halves as segments, with the vectors of objects 0 and 1."""
    catalogue = made.catalogue
    num_clusters, num_dims = catalogue.clusters.centroids.shape
    names = NamesFile(folder / "names.json", catalogue=catalogue.key, num_clusters=num_clusters, num_objects=len(catalogue.objects), num_dims=num_dims)
    session = Session(catalogue, names=names, title="made <b>up</b>")
    pictures = Pictures(catalogue, read_photo=made.photo, masks_of=made.masks, folder=folder / "thumbnails")
    return Page(made=made, names=names, session=session, app=make_app(session, pictures=pictures, dropped=DroppedPhotos(lambda: halves(made))))


def halves(made: MadeUp) -> Any:
    """A segmenter that finds the left and the right part of each photo, and nothing at its bottom, where a pixel has the vector of object 2."""
    vectors = made.catalogue.objects.vector

    def segment(pixels: numpy.ndarray) -> Segmented:
        segments = numpy.zeros((10, 10), dtype=numpy.int16)
        segments[:8, :5], segments[:8, 5:] = 1, 2
        return Segmented(segments=segments, numbers=numpy.array([1, 2]), vectors=vectors[:2], pixel_vector=lambda x, y: vectors[2])

    return segment
