"""What is a typed name worth? A scripted person names clusters; beside it, a linear probe on as many photos labelled by hand.

    python -m benchmarks.naming.labels_per_click runs/voc_0 runs/voc_1 runs/voc_2 --train shards/train_labelled --val shards/val

**Names.** The objects that a run finds in the training photos are clustered. The person looks at a cluster and types its true majority class: that of most
pixels of its objects, background included. Every object that the run finds in the val photos has the class of its nearest cluster, or, where that has no
name, none, which counts as background. `as many clusters`: as many clusters as names, all of them named. `default clusters`: as many as `mcdist cluster`
chooses, named from the largest down. Each run is a training seed; each is clustered with several seeds of K-means.

**Photos labelled by hand.** `benchmarks/naming/probe.py`: logistic regression from the frozen backbone's features, on n random training photos with all their
ground truth. The values are of several draws of the photos. All runs share the
backbone, which is frozen, so its features are made once, by the first run.

Both are mIoU over the same val photos, of which neither has seen one. Labels are used by the scripted person and by the probe; no label reaches a run.
"""

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import numpy
import torch
import typer

from benchmarks.harness import inputs
from benchmarks.harness.command import run
from benchmarks.harness.measurement import measurement
from benchmarks.naming.objects import Objects, encoders_of, objects_of
from benchmarks.naming.probe import fitted_probe, labelled_maps, miou_of_probes
from benchmarks.naming.score import miou
from mcdist.catalogue.classes import Classes
from mcdist.catalogue.clusters import Clusters
from mcdist.catalogue.fit import fit_clusters, suggested_clusters
from mcdist.catalogue.names import Names
from mcdist.config.classes import find_classes
from mcdist.config.file import load_run_config
from mcdist.errors import ConfigError
from mcdist.evaluate.metrics.labels import label_map
from mcdist.passes.extraction import embed_run
from mcdist.run_dir import RunDir, write_atomically
from mcdist.store.store import FeatureStore

NUM_NAMES = (5, 10, 20, 50, 100)
AS_MANY, LARGEST, BY_HAND = "names, as many clusters", "names, the largest of the default clusters", "photos labelled by hand, linear probe"


def named_by_majority(clusters: Clusters, *, train: Objects, num_names: int, names: Sequence[str]) -> Classes:
    """What a person leaves who names the largest `num_names` clusters, each by the class of most of its pixels."""
    cluster = clusters.assign(train.vectors).cluster
    said = Names(catalogue="", num_clusters=clusters.num_clusters, num_objects=len(cluster))
    for number in numpy.argsort(-numpy.bincount(cluster, minlength=clusters.num_clusters), kind="stable")[:num_names]:
        pixels = train.histograms[cluster == number].sum(axis=0)
        if pixels.any():
            said = said.name(int(number), names[int(pixels.argmax())])
    return said.apply(clusters)


def miou_of_classes(classes: Classes, *, val: Objects, names: Sequence[str]) -> float:
    """mIoU in % of the val photos' labels; a class that nobody named has 0, an unnamed cluster is background."""
    index_of = numpy.array([names.index(name) if place < classes.num_named else 0 for place, name in enumerate(classes.names)])
    predicted = index_of[classes.assign(val.vectors).class_id]
    confusion = numpy.zeros((len(names), len(names)), dtype=numpy.int64)
    numpy.add.at(confusion, predicted, val.histograms)
    confusion[0] += val.outside
    return miou(confusion)


def miou_of_names(train: Objects, val: Objects, *, num_clusters: int, num_names: Sequence[int], names: Sequence[str], seed: int) -> list[float]:
    """mIoU in % with so many of the largest clusters named, for each of `num_names`."""
    clusters = fit_clusters(train.vectors, num_clusters=num_clusters, seed=seed).clusters
    return [miou_of_classes(named_by_majority(clusters, train=train, num_names=number, names=names), val=val, names=names) for number in num_names]


def scores_of_names(objects: Sequence[tuple[Objects, Objects]], *, names: Sequence[str], seeds: int) -> dict[tuple[str, int], list[float]]:
    """(provider, number of names) -> mIoU of every run, whose (training, val) objects these are, and every seed of K-means."""
    scores: dict[tuple[str, int], list[float]] = {}
    for train, val in objects:
        for seed in range(seeds):
            for number in NUM_NAMES:
                (value,) = miou_of_names(train, val, num_clusters=number, num_names=[number], names=names, seed=seed)
                scores.setdefault((AS_MANY, number), []).append(value)
            default, _ = suggested_clusters(train.vectors, photo_of=train.photo_of, seed=seed)
            counts = [number for number in NUM_NAMES if number <= default]
            for number, value in zip(counts, miou_of_names(train, val, num_clusters=default, num_names=counts, names=names, seed=seed), strict=True):
                scores.setdefault((LARGEST, number), []).append(value)
    return scores


def main(
    run_folders: Annotated[list[Path], typer.Argument(metavar="RUN...", help="Runs of one configuration, a training seed each.", show_default=False)],
    train: Annotated[str, typer.Option(help="Shards of training photos with ground truth.", show_default=False)],
    val: Annotated[str, typer.Option(help="Shards of other photos with ground truth.", show_default=False)],
    title: Annotated[str, typer.Option(help="What the data set is called.")] = "",
    classes: Annotated[str, typer.Option(help="evaluate.classes, where the runs do not say: {background: [0], cat: [8]}")] = "",
    limit_train: Annotated[int, typer.Option(help="Only the first N photos of --train; 0: all.")] = 0,
    limit_val: Annotated[int, typer.Option(help="Only the first N photos of --val; 0: all.")] = 0,
    seeds: Annotated[int, typer.Option(min=1, help="Seeds of K-means for each run, and draws of labelled photos.")] = 5,
    json_path: Annotated[Path | None, typer.Option("--json", help="Write all rows here.", show_default=False)] = None,
) -> None:
    """Print and keep mIoU against the number of names typed, and against as many photos labelled by hand."""
    run_dirs = [RunDir(folder) for folder in run_folders]
    config = load_run_config(run_dirs[0], overrides=[f"evaluate.classes={classes}"] if classes else [])
    if not config.evaluate.classes:
        raise ConfigError("expected the classes of the ground truth, got none; name them with --classes '{background: [0], cat: [8]}'")
    described = find_classes(config.evaluate.classes, key="evaluate.classes")
    labels = label_map(described.ids, has_background=described.has_background)
    encoders = encoders_of(run_dirs)
    train_store, val_store = (_store(run_dirs[0], shards=shards, limit=limit) for shards, limit in ((train, limit_train), (val, limit_val)))
    objects = [
        (
            objects_of(encoder, store=train_store, shards=train, config=config, labels=labels),
            objects_of(encoder, store=val_store, shards=val, config=config, labels=labels),
        )
        for encoder in encoders
    ]
    scores = scores_of_names(objects, names=labels.names, seeds=seeds)

    maps = list(labelled_maps(train_store, shards=train, config=config, labels=labels))
    draws = {(number, seed): numpy.random.default_rng(seed).permutation(len(maps))[:number] for seed in range(seeds) for number in NUM_NAMES}
    probes = [fitted_probe([maps[index] for index in drawn], num_classes=len(labels.names)) for drawn in draws.values()]
    photos = labelled_maps(val_store, shards=val, config=config, labels=labels)
    for (number, _), score in zip(draws, miou_of_probes(probes, photos=photos, num_classes=len(labels.names)), strict=True):
        scores.setdefault((BY_HAND, number), []).append(score)
    print(f"{len(probes)} probes, {sum(probe.classifier.converged for probe in probes)} converged; their L2: {_counted([probe.decay for probe in probes])}")

    shape = f"{title or run_dirs[0].root.name}: {train_store.num_photos:,} training photos, {val_store.num_photos:,} others, {len(labels.names)} classes"
    rows = [_row(values, provider=provider, number=number, shape=shape) for (provider, number), values in scores.items()]
    print(markdown(rows))
    if json_path is not None:
        write_atomically(json_path, json.dumps(rows, indent=1).encode() + b"\n")


def markdown(rows: Sequence[dict[str, Any]]) -> str:
    """The rows as a table: mean and standard deviation of each provider's values, by number."""
    numbers = sorted({int(row["mode"]) for row in rows})
    lines = [f"{rows[0]['shape']}\n", "| | " + " | ".join(map(str, numbers)) + " |", "|---|" + "---:|" * len(numbers)]
    for provider in dict.fromkeys(row["provider"] for row in rows):
        cells = {int(row["mode"]): f"{row['mean']:.1f} ± {row['std']:.1f}" for row in rows if row["provider"] == provider}
        lines.append(f"| {provider} | " + " | ".join(cells.get(number, "") for number in numbers) + " |")
    return "\n".join(lines)


def _row(values: Sequence[float], *, provider: str, number: int, shape: str) -> dict[str, Any]:
    """A measurement with the mean and the standard deviation (of a sample) of its values."""
    base = measurement(
        values, benchmark="labels_per_click", provider=provider, mode=str(number), shape=shape, metric="mIoU", unit="%", device=torch.device("cpu")
    )
    return {**asdict(base), "mean": float(numpy.mean(values)), "std": float(numpy.std(values, ddof=1)) if len(values) > 1 else 0.0, "values": list(values)}


def _counted(decays: Sequence[float]) -> str:
    return ", ".join(f"{decay:g} ({decays.count(decay)})" for decay in sorted(set(decays)))


def _store(run_dir: RunDir, *, shards: str, limit: int) -> FeatureStore:
    """The features of the first photos of some shards: made where they are not there."""
    settings = ["evaluate.objects=components", f"evaluate.limit={limit}", "run.num_threads=1", "data.num_workers=0"]
    store = embed_run(run_dir, overrides=settings, which="newest", shards=shards, patches=True)
    assert store is not None, "this process is the first rank"
    return store


def quick(folder: Path) -> list[str]:
    """Arguments of `--quick`."""
    run_folder, train, val = inputs.catalogued_run(folder)
    return [run_folder, "--train", train, "--val", val, "--seeds", "1"]


if __name__ == "__main__":
    run(main, quick=quick)
