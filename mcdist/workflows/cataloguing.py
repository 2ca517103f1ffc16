"""The story of a catalogue: the objects that a run predicts in its training photos, as a feature store; then clusters of them, kept in RUN/catalogue."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from math import isnan

import numpy

from mcdist import build
from mcdist.catalogue.catalogue import Catalogue
from mcdist.catalogue.facts import CatalogueFacts
from mcdist.catalogue.file import MANIFEST_NAME, keep_names, write_catalogue
from mcdist.catalogue.fit import CLUSTERS_MAX, fit_clusters, suggested_clusters
from mcdist.catalogue.objects import CataloguedObjects
from mcdist.config import Config
from mcdist.config.file import load_run_config
from mcdist.errors import ConfigError, DataError
from mcdist.evaluate.table_names import AREA_PX, BOX, HEIGHT, NUMBER, PHOTO, WIDTH, vectors_of
from mcdist.groups.clustering.faiss_library import require_faiss
from mcdist.passes.extraction import embed_run
from mcdist.records.names import PREDICTED, TRAINED, UNIT_MEAN
from mcdist.run_dir import RunDir
from mcdist.store.names import PHOTOS
from mcdist.store.store import FeatureStore

DEFAULTS = ("evaluate.objects=components", "evaluate.limit=0")
"""Unless an override says otherwise: two animals apart are two objects, and every training photo counts."""


def cluster_run(
    run_dir: RunDir,
    *,
    overrides: Sequence[str] = (),
    which: str = "newest",
    num_clusters: int = 0,
    seed: int = 0,
    overwrite: bool = False,
    say: Callable[[str], None] = lambda text: None,
) -> Catalogue | None:
    """Make the run's catalogue: the trained encoder's own objects of the training photos, in `num_clusters` clusters (0: see `suggested_clusters`).

    A catalogue that was made of the same checkpoint, photos and settings is kept. Under several ranks each embeds its share and the first one clusters:
    None on the others.

    Raises:
        ConfigError: no such run; or another catalogue is there, and not `overwrite`, which moves its names aside.
        DataError: the encoder predicts no object in any photo.
        CheckpointError, MachineError: as `embed_run`.
        MissingExtraError: no FAISS is installed.
    """
    require_faiss()
    if not 0 <= num_clusters <= CLUSTERS_MAX:
        raise ConfigError(
            f"--clusters must be between 1 and {CLUSTERS_MAX}, for a segment map has a byte a pixel, or 0 to have a number chosen; got {num_clusters}"
        )
    given = [*catalogue_overrides(overrides)]
    config = load_run_config(run_dir, overrides=given)
    store = embed_run(run_dir, overrides=given, which=which, shards=config.data.train)
    if store is None:
        return None
    made = _catalogued(store, config=config, num_clusters=num_clusters, seed=seed, say=say)
    if (run_dir.catalogue / MANIFEST_NAME).is_file():
        if overwrite:
            _set_names_aside(run_dir, say=say)
        else:
            return _kept(Catalogue.open(run_dir), made=made, run_dir=run_dir, say=say)
    facts = write_catalogue(run_dir.catalogue, facts=made.facts, clusters=made.clusters, objects=made.objects, photos=made.photos, sizes=made.sizes)
    return replace(made, facts=facts)


def _kept(there: Catalogue, *, made: Catalogue, run_dir: RunDir, say: Callable[[str], None]) -> Catalogue:
    """The catalogue that is there, if it is of what was asked for."""
    same = replace(made.facts, key=there.key, dataset=there.facts.dataset)  # shards may be moved: `samples` says which they are
    if there.facts != same or there.clusters.num_clusters != made.clusters.num_clusters:
        raise ConfigError(
            f"{run_dir.catalogue} is another catalogue ({there.clusters.num_clusters} clusters, of step {there.facts.step}; asked for: "
            f"{made.clusters.num_clusters}, of step {made.facts.step}), and names are of its clusters; replace it, its names kept beside it, with --overwrite"
        )
    say(f"{run_dir.catalogue} was made of the same checkpoint, photos and settings, and stays")
    return there


def catalogue_overrides(overrides: Sequence[str]) -> tuple[str, ...]:
    """`overrides` before the catalogue's own defaults, of those settings that they do not name."""
    named = {text.partition("=")[0] for text in overrides}
    return (*overrides, *(text for text in DEFAULTS if text.partition("=")[0] not in named))


def _catalogued(store: FeatureStore, *, config: Config, num_clusters: int, seed: int, say: Callable[[str], None]) -> Catalogue:
    objects = _objects(store)
    if not len(objects["photo"]):
        raise DataError(
            f"the encoder predicts no object in the {store.num_photos:,} photos of {config.data.train}, so there is nothing to cluster; "
            "train longer, or predict masks another way with evaluate.predicted_by=groups"
        )
    standing_out = 0
    if not num_clusters:
        num_clusters, standing_out = suggested_clusters(objects["vector"], photo_of=objects["photo"], seed=seed)
    say(f"clustering {len(objects['photo']):,} objects of {store.num_photos:,} photos into {num_clusters}")
    pca_dim = config.evaluate.mean_embedding_pca_dim
    fitted = fit_clusters(objects["vector"], num_clusters=num_clusters, pca_dim=pca_dim, seed=seed)
    assigned = fitted.clusters.assign(objects["vector"])
    plan = store.manifest.plan
    facts = CatalogueFacts(
        key="",
        checkpoint=plan.checkpoint["trained"],
        step=plan.about["step"],
        dataset=config.data.train,
        samples=plan.data["samples"],
        settings={name: plan.settings[name] for name in ("size_px", "batch", "objects", "component_area_min", "predicted_by")},
        seed=seed,
        pca_dim=pca_dim,
        standing_out=standing_out,
        agreement=None if isnan(fitted.agreement) else round(fitted.agreement, 4),
    )
    reader = build.open_reader(config.data.train, key="data.train", data=config.data)
    return Catalogue(
        facts,
        fitted.clusters,
        CataloguedObjects(**objects, cluster=assigned.cluster, confidence=assigned.confidence),
        tuple(reader.key(index) for index in range(store.num_photos)),
        numpy.stack([store.column(PHOTOS, name).read() for name in (HEIGHT, WIDTH)], axis=1),
    )


def _objects(store: FeatureStore) -> dict[str, numpy.ndarray]:
    columns = {"photo": PHOTO, "number": NUMBER, "area_px": AREA_PX, "box": BOX, "vector": vectors_of(UNIT_MEAN, TRAINED)}
    return {name: store.column(PREDICTED, column).read() for name, column in columns.items()}


def _set_names_aside(run_dir: RunDir, *, say: Callable[[str], None]) -> None:
    try:
        key = Catalogue.open(run_dir).key
    except DataError:
        key = "damaged"
    if aside := keep_names(run_dir, key=key):
        say(f"the names of the catalogue that is replaced are kept in {aside}")
