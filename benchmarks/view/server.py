"""The page of a made-up catalogue, served on loopback by a thread of this process: for the benchmark, and for tests in a browser."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy
import uvicorn

from benchmarks.view.made_up import MadeUp
from mcdist.catalogue.names_file import NamesFile
from mcdist.gallery.app import make_app
from mcdist.gallery.dropped import DroppedPhotos, Segmented
from mcdist.gallery.guard import Guard
from mcdist.gallery.pictures import Pictures
from mcdist.gallery.serve import HOST, listen
from mcdist.gallery.session import Session

TOKEN = "token-of-a-made-up-page"
START_S = 60.0


@dataclass(frozen=True)
class Page:
    """Names are in `names`; `app` must be put behind its guard."""

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


@contextmanager
def served(made: MadeUp | Page, *, folder: Path) -> Iterator[str]:
    """The address of the page, with its token, for the length of the block."""
    page = make_page(made, folder=folder) if isinstance(made, MadeUp) else made
    listener = listen(0)
    port = listener.getsockname()[1]
    config = uvicorn.Config(Guard(page.app, token=TOKEN, port=port), lifespan="off", log_level="warning", ws="none", timeout_graceful_shutdown=1)
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
    thread.start()
    until = time.monotonic() + START_S
    while not server.started and time.monotonic() < until:
        time.sleep(0.005)
    try:
        yield f"http://{HOST}:{port}/?token={TOKEN}"
    finally:
        server.should_exit = True
        thread.join(timeout=10)
        listener.close()
