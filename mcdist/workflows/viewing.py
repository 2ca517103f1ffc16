"""The story of `mcdist view`: a run's catalogue, its names, its photos and its encoder, put together for the page."""

import threading
import time
from collections.abc import Callable
from contextlib import suppress
from importlib import import_module
from typing import TYPE_CHECKING, Any

import numpy

from mcdist.catalogue.catalogue import Catalogue
from mcdist.catalogue.masks import CatalogueMasks
from mcdist.catalogue.names_of_run import names_of
from mcdist.config.file import load_run_config
from mcdist.data.pictures.photo import decode_upright
from mcdist.data.readers.content import content_of
from mcdist.data.readers.reader import SampleReader
from mcdist.errors import ConfigError, MissingExtraError, ShardError
from mcdist.gallery.dropped import DroppedPhotos, Segmented, Segmenter
from mcdist.gallery.pictures import Pictures
from mcdist.gallery.session import Session
from mcdist.groups.clustering.faiss_library import load_faiss
from mcdist.reading import open_reader
from mcdist.run_dir import RunDir

if TYPE_CHECKING:
    from mcdist.loading import LoadedRun

NO_EXTRA = "mcdist view needs FastAPI and uvicorn, which are not installed; install them with: pip install 'mcdist[view]'"

READY_AFTER_S = 3.0
"""The page opens in less, and an import holds the interpreter."""


def view_run(run_dir: RunDir, *, overrides: list[str], port: int, open_browser: bool, say: Callable[[str], Any]) -> None:
    """Serve the page of a run until Ctrl-C. Every error comes before the address is printed.

    Raises:
        ConfigError: no such run, or its shards are not those that the catalogue was made of.
        DataError: the run has no catalogue, or that or the names are damaged.
        MachineError: the port is in use.
        MissingExtraError: the extra `view` is not installed.
    """
    try:
        from mcdist.gallery.serve import listen, serve
    except ImportError as error:
        raise MissingExtraError(NO_EXTRA) from error
    run_dir.require()
    listener = listen(port)
    try:
        app = make_view(run_dir, overrides=overrides, say=say)
        threading.Thread(target=_get_ready, name="get ready", daemon=True).start()
        serve(app, listener=listener, open_browser=open_browser, say=say)
    finally:
        listener.close()


def _get_ready() -> None:
    """Import what the first search and the first dropped photo need, when the page has had time to open."""
    time.sleep(READY_AFTER_S)
    import_module("mcdist.loading")
    with suppress(MissingExtraError):  # whoever searches is told
        load_faiss()


def make_view(run_dir: RunDir, *, overrides: list[str], say: Callable[[str], Any]) -> Any:
    """The page's application (ASGI), which must be served behind its guard; `view_run` has the errors."""
    try:
        from mcdist.gallery.app import make_app
    except ImportError as error:
        raise MissingExtraError(NO_EXTRA) from error
    catalogue = Catalogue.open(run_dir)
    session = Session(catalogue, names=names_of(run_dir, catalogue=catalogue), title=run_dir.root.resolve().name)
    reader = photos_of(run_dir, catalogue=catalogue, overrides=overrides)
    masks = CatalogueMasks.find(run_dir.features, facts=catalogue.facts)
    if masks is None:
        say(f"objects are shown without outlines: the feature store of the catalogue is not in {run_dir.features} any more (mcdist cluster writes it again)")
    pictures = Pictures(
        catalogue,
        read_photo=ShardPhotos(reader),
        masks_of=masks.of if masks is not None else lambda photo: None,
        folder=run_dir.catalogue / "thumbnails",
    )
    pictures.warm(session.examples())
    return make_app(session, pictures=pictures, dropped=DroppedPhotos(lambda: open_segmenter(run_dir)))


def photos_of(run_dir: RunDir, *, catalogue: Catalogue, overrides: list[str]) -> SampleReader:
    """The training shards; ConfigError where they hold other samples than those of the catalogue."""
    data = load_run_config(run_dir, overrides=overrides).data
    reader = open_reader(data.train, key="data.train", data=data)
    if content_of(reader).digest != catalogue.facts.samples:
        raise ConfigError(
            f"the catalogue was made of the photos of {catalogue.facts.dataset}, data.train={data.train} holds others; name those shards with data.train=DIR"
        )
    return reader


class ShardPhotos:
    """The RGB pixels [H, W, 3] of a photo of the shards, by index. Readers keep files open, so they read for one thread at a time; each decodes its own."""

    def __init__(self, reader: SampleReader) -> None:
        self._reader, self._lock = reader, threading.Lock()

    def __call__(self, index: int) -> numpy.ndarray:
        """The pixels; ShardError where the photo cannot be read."""
        with self._lock:
            raw = self._reader.read(index)
        if not isinstance(raw.photo, bytes):
            return raw.photo
        try:
            return decode_upright(raw.photo)
        except ValueError as error:
            raise ShardError(f"{raw.where}: the photo cannot be decoded ({error}); rebuild this shard without it") from error


def open_segmenter(run_dir: RunDir) -> Segmenter:
    """What finds segments in a photo that is dropped on the page: the run's encoder, which is loaded now."""
    from mcdist.loading import load_run

    run = load_run(run_dir.root)
    return lambda pixels: _segmented(run, pixels)


def _segmented(run: "LoadedRun", pixels: numpy.ndarray) -> Segmented:
    found = run.segment(pixels)
    embedding: list[numpy.ndarray] = []

    def pixel_vector(x: float, y: float) -> numpy.ndarray:
        if not embedding:  # of the whole photo, for the first pixel that is asked for
            embedding.append(run.embed(pixels).cpu().numpy())
        num_rows, num_columns = embedding[0].shape[1:]
        return embedding[0][:, int(y * num_rows), int(x * num_columns)]

    num_dims = run.catalogue.clusters.num_dims
    return Segmented(
        segments=found.instances,
        numbers=numpy.array([segment.number for segment in found.segments], dtype=numpy.int64),
        vectors=numpy.array([segment.vector for segment in found.segments], dtype=numpy.float32).reshape(-1, num_dims),
        pixel_vector=pixel_vector,
    )
