"""The page of a made-up catalogue, for tests: its application, and a server of it on loopback."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy
import uvicorn

from benchmarks.view.made_up import MadeUp, made_up
from mcdist.catalogue.names_file import NamesFile
from mcdist.gallery.app import make_app
from mcdist.gallery.dropped import DroppedPhotos, Segmented
from mcdist.gallery.guard import Guard
from mcdist.gallery.pictures import Pictures
from mcdist.gallery.serve import HOST, listen
from mcdist.gallery.session import Session

TOKEN = "token-of-the-test"


@dataclass(frozen=True)
class Page:
    """Names are in `names`; the application is behind its guard where `port` says."""

    made: MadeUp
    names: NamesFile
    session: Session
    pictures: Pictures
    app: Any


def make_page(folder: Path, *, num_objects: int = 60, photo_names: tuple[str, ...] = (), num_clusters: int = 6) -> Page:
    """A page whose names and thumbnails are kept in `folder`. A photo that is dropped has two halves as segments, near objects 0 and 1."""
    made = made_up(num_objects, num_clusters=num_clusters, num_kinds=min(num_clusters, 9), photo_names=photo_names)
    catalogue = made.catalogue
    names = NamesFile(folder / "names.json", catalogue=catalogue.key, num_clusters=num_clusters, num_objects=num_objects, num_dims=catalogue.clusters.centroids.shape[1])
    session = Session(catalogue, names=names, title="made <b>up</b>")
    pictures = Pictures(catalogue, read_photo=made.photo, masks_of=made.masks, folder=folder / "thumbnails")
    app = make_app(session, pictures=pictures, dropped=DroppedPhotos(lambda: halves(made)))
    return Page(made=made, names=names, session=session, pictures=pictures, app=app)


def halves(made: MadeUp) -> Any:
    """A segmenter that finds the left and the right part of each photo, and nothing at its bottom."""
    vectors = made.catalogue.objects.vector

    def segment(pixels: numpy.ndarray) -> Segmented:
        segments = numpy.zeros((10, 10), dtype=numpy.int16)
        segments[:8, :5], segments[:8, 5:] = 1, 2
        return Segmented(segments=segments, numbers=numpy.array([1, 2]), vectors=vectors[:2], pixel_vector=lambda x, y: vectors[2])

    return segment


@contextmanager
def served(page: Page) -> Iterator[str]:
    """The address of the page, with its token, for the length of the block."""
    listener = listen(0)
    port = listener.getsockname()[1]
    server = uvicorn.Server(uvicorn.Config(Guard(page.app, token=TOKEN, port=port), lifespan="off", log_level="warning", ws="none", timeout_graceful_shutdown=1))
    server.install_signal_handlers = lambda: None  # type: ignore[attr-defined]
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
    thread.start()
    until = time.monotonic() + 20
    while not server.started and time.monotonic() < until:
        time.sleep(0.01)
    try:
        yield f"http://{HOST}:{port}/?token={TOKEN}"
    finally:
        server.should_exit = True
        thread.join(timeout=10)
        listener.close()
