"""The story of an evaluation: a run's feature store, judged by protocols; then the panels and the report."""

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy

from mcdist import build
from mcdist.config.classes import find_classes
from mcdist.config.config import Config
from mcdist.config.file import config_of, dump_config, load_run_config
from mcdist.distributed import ALONE, World
from mcdist.errors import ConfigError
from mcdist.evaluate.colours import embedding_colours
from mcdist.evaluate.draw import even_places, make_panel
from mcdist.evaluate.failures import lowest_places, photo_scores
from mcdist.evaluate.judge import Judgement, judge
from mcdist.evaluate.metrics.labels import LabelMap, label_map
from mcdist.evaluate.nearest import nearest_objects
from mcdist.evaluate.object_map import object_map
from mcdist.evaluate.painting import Painting
from mcdist.evaluate.protocols.photo_terms import check_photos
from mcdist.evaluate.protocols.protocol import Need, Protocol
from mcdist.evaluate.protocols.registry import WITH_GROUPS, WITH_TRUTH, WITHOUT_TRUTH, make_protocols
from mcdist.evaluate.settings import Kept
from mcdist.evaluate.table_names import SALIENCY
from mcdist.evaluate.truth import read_truth
from mcdist.evaluate.view import StoreView
from mcdist.outputs import publish
from mcdist.passes.extraction import Looker, extracted, look_at, look_at_backbone, look_at_train, opened, photo_console, trained_maps
from mcdist.ranks.agree import lost_ranks_explained
from mcdist.ranks.join import leave_world
from mcdist.records import Evaluation, Example, Neighbours, Panel, Retrieved
from mcdist.records.names import LINEAR_FAST
from mcdist.report.console import Console
from mcdist.report.page.html import write_report
from mcdist.report.pictures.clusters import save_clusters
from mcdist.report.pictures.failures import save_failures
from mcdist.report.pictures.neighbours import ShownNeighbours, save_neighbours
from mcdist.report.pictures.panels import save_panels
from mcdist.report.pictures.retrieved import ShownRetrieved, save_retrieved
from mcdist.run_dir import RunDir, write_atomically
from mcdist.store.names import PHOTOS
from mcdist.store.store import FeatureStore

NUM_FAILURES = 6
"""Photos with the lowest scores that a report shows."""


def evaluate_run(
    run_dir: RunDir,
    *,
    overrides: list[str],
    which: str,
    protocols: Sequence[str] = (),
    store: Path | None = None,
    train_shards: str = "",
    transfer: str = "",
) -> Evaluation | None:
    """Judge the run's embeddings beside its baselines' on the validation shards; writes evaluation.json, panels and report.html.

    `protocols`: names; none: those that fit. Where the shards hold no ground truth, or `data.val` names none and the training shards serve, clusters are
    shown without a score. Several ranks share the extraction and the judging; the first one writes, and the others return None.

    `store`: a feature store to judge instead of extracting one. `train_shards`: shards with ground truth to fit probes on. `transfer`: the name of a folder
    below RUN/transfer for what is written, where the photos are of another data set than the run's own.

    Raises:
        ConfigError: no such run, protocol or class, or a store of something else.
        DataError: nothing to judge.
        CheckpointError: no such checkpoint, or an embedding is not finite.
        MissingExtraError: a package is not installed.
    """
    config = load_run_config(run_dir, overrides=overrides)
    judged = _judged(
        config, run_dir, look=lambda kept: look_at(config, run_dir, which=which, kept=kept), protocols=protocols, store=store, train_shards=train_shards
    )
    if judged is None:
        return None
    if transfer:
        out = run_dir.transferred(transfer)
        write_atomically(out.config, dump_config(config).encode())
        _write(*judged, out=out)
    else:
        _write(*judged, out=run_dir)
        publish(config, run_dir, judged[0].evaluation)
    return judged[0].evaluation


def evaluate_backbone(
    out: RunDir, *, overrides: list[str], protocols: Sequence[str] = (), store: Path | None = None, train_shards: str = ""
) -> Evaluation | None:
    """Judge a backbone with published weights, without a run: model.backbone and model.weights on the shards of data.val, all given in `overrides`.

    Its features are judged under the given masks: it predicts none. `out` gets config.yaml and what `evaluate_run` writes into a run; the rest as there.
    """
    config = config_of(["model.decoder=linear", "model.bank_size=0", *overrides])
    if out.initial_checkpoint.exists():
        raise ConfigError(f"--out {out.root} is the folder of a run, whose evaluation would be replaced; choose another one")
    write_atomically(out.create().config, dump_config(config).encode())
    judged = _judged(config, out, look=lambda kept: look_at_backbone(config, kept=kept), protocols=protocols, store=store, train_shards=train_shards)
    if judged is None:
        return None
    _write(*judged, out=out)
    return judged[0].evaluation


def _judged(
    config: Config, run_dir: RunDir, *, look: Callable[[Kept], Looker], protocols: Sequence[str], store: Path | None, train_shards: str
) -> tuple[Judgement, Looker, StoreView, Looker | None] | None:
    """Extract what is not there yet, in `run_dir`, and judge it; at the end the photos that probes were fitted on. None on all ranks but the first."""
    began_s = time.monotonic()
    chosen = make_protocols(protocols, settings=build.judge_settings(config))
    check_photos(chosen, size_px=config.evaluate.size_px, photo_input=config.evaluate.input)
    world = build.build_world(config)
    try:
        with lost_ranks_explained(world=world):
            build.prepare_process(config, world=world)
            looker = look(_kept(chosen))
            chosen = chosen or _fitting_protocols(looker)
            _check_train_shards(train_shards, protocols=chosen, judged_on=looker.location, with_truth=looker.settings.with_truth)
            train_looker = look_at_train(looker, shards=train_shards) if train_shards else None
            labels = _labels(looker, protocols=chosen)
            with photo_console(looker, world=world) as console:
                _announce(looker, run_dir, console=console)
                found = opened(looker, store) if store is not None else extracted(looker, run_dir, out=None, world=world, console=console)
                train = None if train_looker is None else _extracted_train(train_looker, run_dir, world=world)
                view = replace(_view(looker, found, labels=labels), world=world)
                if train_looker is not None and train is not None and labels is not None:
                    view = replace(view, train=_view(train_looker, train, labels=_train_labels(looker, labels=labels)))
                judged = judge(
                    view,
                    protocols=chosen,
                    step=looker.step,
                    num_photos_in_dataset=len(looker.reader),
                    chosen_by=looker.chosen_by,
                    elapsed_s=lambda: time.monotonic() - began_s,
                    say=console.say,
                )
                leave_world()  # pictures and the report are the first rank's work, and may take longer than a collective may
                return (judged, looker, replace(view, world=ALONE), train_looker) if world.is_first else None
    finally:
        leave_world()


def _fitting_protocols(looker: Looker) -> tuple[Protocol, ...]:
    with_truth = WITH_GROUPS if looker.has_groups else WITH_TRUTH
    return make_protocols(with_truth if looker.settings.with_truth else WITHOUT_TRUTH, settings=build.judge_settings(looker.config))


def _labels(looker: Looker, *, protocols: Sequence[Protocol]) -> LabelMap | None:
    """The classes of evaluate.classes, unless there is no ground truth or no protocol asks for it."""
    if not (looker.settings.with_truth and any("truth" in protocol.needs for protocol in protocols)):
        return None
    return _label_map(looker.config.evaluate.classes, key="evaluate.classes")


def _label_map(given: str | dict[str, list[int]], *, key: str) -> LabelMap:
    classes = find_classes(given, key=key)
    return label_map(classes.ids, has_background=classes.has_background)


def _train_labels(looker: Looker, *, labels: LabelMap) -> LabelMap:
    """The ids of the photos that probes are fitted on, under the class indices of the judged ones."""
    given = looker.config.evaluate.train_classes
    return _label_map(given, key="evaluate.train_classes").matched_to(labels) if given else labels


def _kept(protocols: Sequence[Protocol]) -> Kept:
    """What the stores have to keep for these protocols."""
    needs: set[Need] = set().union(*(protocol.needs for protocol in protocols))
    return Kept(patches="patches" in needs, decoded="decoded" in needs, label_maps="label maps" in needs, mirrored="mirrored patches" in needs)


def _check_train_shards(shards: str, *, protocols: Sequence[Protocol], judged_on: str, with_truth: bool) -> None:
    """Raise ConfigError where shards to fit on are missing, or given and of no use: before any photo is embedded."""
    fitted = [protocol.name for protocol in protocols if "train labels" in protocol.needs]
    if fitted and not shards:
        raise ConfigError(f"the protocol {fitted[0]} is fitted on other photos with ground truth; name their shards with --train-shards DIR")
    if shards and not with_truth:
        raise ConfigError(
            f"probes are fitted on --train-shards {shards} and judged on {judged_on}, which holds no ground truth to judge them by; "
            "name shards that do with data.val=DIR (built with --labels), or leave --train-shards out"
        )
    if shards and not fitted:
        raise ConfigError(
            f"none of {', '.join(protocol.name for protocol in protocols)} is fitted on the photos of --train-shards {shards}; "
            f"choose a protocol that is, such as --protocol {LINEAR_FAST} (mcdist protocols lists them), or leave --train-shards out"
        )


def _extracted_train(train: Looker, run_dir: RunDir, *, world: World) -> FeatureStore:
    """The store of the photos that probes are fitted on."""
    with photo_console(train, world=world) as console:
        return extracted(train, run_dir, out=None, world=world, console=console)


def _announce(looker: Looker, run_dir: RunDir, *, console: Console) -> None:
    what = looker.trained.path if looker.lone else f"{run_dir.root} after step {looker.step}"
    console.say(f"evaluating {what} on {looker.location}")
    if not looker.settings.with_truth:
        unset = "" if looker.config.data.val else " to evaluate with (data.val is not set)"
        console.say(f"{looker.location} holds no ground truth{unset}: clusters are shown without a score")


def _view(looker: Looker, store: FeatureStore, *, labels: LabelMap | None) -> StoreView:
    truth = read_truth(store, labels=labels, dataset=looker.location) if labels is not None else None
    return StoreView(store, dataset=looker.location, truth=truth)


def _write(judged: Judgement, looker: Looker, view: StoreView, train: Looker | None, *, out: RunDir) -> None:
    """The files of an evaluation: evaluation.json, panels, failures, clusters, neighbours, retrieved objects, the map of objects and the report."""
    evaluation, painting = judged.evaluation, judged.painting
    write_atomically(out.evaluation, evaluation.to_json().encode())
    _write_panels(judged, looker, view, out=out)
    placed = None if painting is None else object_map(view, painting=painting)
    if placed is None:
        out.object_map.unlink(missing_ok=True)
    else:
        write_atomically(out.object_map, placed.to_json().encode())
    examples = () if painting is None else painting.examples
    save_clusters([[_shown(looker, example) for example in cluster] for cluster in examples], out.clusters)
    save_neighbours((_shown_neighbours(looker, one) for one in nearest_objects(view)), out.neighbours)
    save_retrieved((_shown_retrieved(looker, train, one) for one in judged.retrieved if train is not None), out.retrieved)
    write_report(out)


def _write_panels(judged: Judgement, looker: Looker, view: StoreView, *, out: RunDir) -> None:
    """Photos evenly over the set, and those with the lowest score; none without an encoder that predicts masks: a panel shows these."""
    painting, classes = judged.painting, judged.evaluation.classes
    num = looker.config.evaluate.num_panels
    shown: list[int] = []
    scores = numpy.zeros(0)
    if painting is not None and view.store.has(PHOTOS, SALIENCY):
        shown = even_places(looker.num_photos, num_wanted=num)
        if view.truth is not None and num:
            scores = photo_scores(painting, counts=view.truth.counts[painting.masks])
    lowest = lowest_places(scores, num=NUM_FAILURES)
    places = list(dict.fromkeys([*shown, *lowest]))
    colours = dict(zip(places, embedding_colours(trained_maps(looker, places=places)), strict=True))
    save_panels(_panels(looker, view, places=shown, painting=painting, colours=colours), out.panels, classes=classes)
    failures = _panels(looker, view, places=lowest, painting=painting, colours=colours)
    save_failures(failures, out.failures, scores=[float(scores[place]) for place in lowest], classes=classes)


def _panels(looker: Looker, view: StoreView, *, places: Sequence[int], painting: Painting | None, colours: dict[int, numpy.ndarray]) -> Iterator[Panel]:
    if painting is not None:
        photos = looker.photos(with_truth=view.truth is not None)
        for place in places:
            yield make_panel(photos.read(place), photo=place, store=view, painting=painting, embedding=colours[place])


def _shown_neighbours(looker: Looker, one: Neighbours) -> ShownNeighbours:
    before, after = ([_shown(looker, near) for near in nearest] for nearest in (one.before, one.after))
    return ShownNeighbours(_shown(looker, one.example), before=before, after=after)


def _shown_retrieved(looker: Looker, train: Looker, one: Retrieved) -> ShownRetrieved:
    return ShownRetrieved(_shown(looker, one.example), one.true_class, [(_shown(train, near), name) for near, name in one.nearest])


def _shown(looker: Looker, example: Example) -> tuple[numpy.ndarray, tuple[float, float, float, float]]:
    """An example's photo, and where the object is in it."""
    return looker.photos(with_truth=False).read(example.sample).photo.permute(1, 2, 0).numpy(), example.box
