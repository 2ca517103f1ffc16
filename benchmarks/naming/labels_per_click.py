"""What is a typed name worth? A scripted person names clusters; beside it, a linear probe on as many photos labelled by hand.

    python -m benchmarks.naming.labels_per_click runs/voc_animals --train shards/train_labelled --val shards/val --json benchmarks/naming/results/voc.json

**Names.** The objects that RUN finds in the training photos are clustered. The person looks at a cluster and types its true majority class: that of most
pixels of its objects, background included. Every object that the run finds in the val photos has the class of its nearest cluster, or, where that has no
name, none, which counts as background. `default`: the clusters of `mcdist cluster`, named from the largest down. `as many`: as many clusters as names,
all of them named; the spread is over seeds of K-means.

**Photos labelled by hand.** Softmax regression from the frozen backbone's features (each cell of the grid is a sample, of the class at its centre) to the
classes, on n random training photos with all their ground truth; its scores are upsampled to the photo. The strength of L2 is chosen on a fifth of these
photos. The spread is over draws of the photos.

Both are mIoU over the same val photos, of which neither has seen one. Labels are used by the scripted person and by the probe; no label reaches RUN.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy
import torch
import typer
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn.functional import cross_entropy, interpolate

from benchmarks.harness import inputs
from benchmarks.harness.command import run
from benchmarks.harness.measurement import Measurement, measurement, publish
from mcdist import build
from mcdist.catalogue.catalogue import Catalogue
from mcdist.catalogue.classes import Classes
from mcdist.catalogue.clusters import Clusters
from mcdist.catalogue.fit import fit_clusters
from mcdist.catalogue.names import Names
from mcdist.config import Config
from mcdist.config.classes import find_classes
from mcdist.config.file import load_run_config
from mcdist.data.loader import read_sample
from mcdist.errors import ConfigError
from mcdist.evaluate.metrics.confusion import class_iou
from mcdist.evaluate.metrics.labels import VOID_CLASS, LabelMap, label_map
from mcdist.evaluate.table_names import BACKGROUND, HISTOGRAM, patches_of, vectors_of
from mcdist.passes.extraction import embed_run
from mcdist.records.names import PREDICTED, TRAINED, TRAINED_BACKBONE, UNIT_MEAN
from mcdist.run_dir import RunDir
from mcdist.store.names import PHOTOS
from mcdist.store.store import FeatureStore

NUM_NAMES = (5, 10, 20, 50, 100)
DECAYS = (1e-4, 1e-3, 1e-2)
"""L2 strengths that the probe may choose from."""
LBFGS_STEPS = 40
CELL_STEP = 3
"""The probe is fitted on every third cell of every third row: neighbours see almost the same pixels."""


@dataclass(frozen=True, slots=True)
class Objects:
    """Objects found in some photos: their vectors, the pixels of each class in them, and the pixels of each class outside of all."""

    vectors: Float[numpy.ndarray, "O D"]
    histograms: Int[numpy.ndarray, "O C"]
    outside: Int[numpy.ndarray, " C"]


def objects_in(store: FeatureStore, *, labels: LabelMap) -> Objects:
    """The predicted objects of a store with ground truth."""
    histograms = store.column(PREDICTED, HISTOGRAM).read().astype(numpy.int64) @ labels.of_ids
    outside = store.column(PHOTOS, f"{BACKGROUND}/{PREDICTED}").read().astype(numpy.int64).sum(axis=0) @ labels.of_ids
    return Objects(vectors=store.column(PREDICTED, vectors_of(UNIT_MEAN, TRAINED)).read(), histograms=histograms, outside=outside)


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


def miou(confusion: Int[numpy.ndarray, "C C"]) -> float:
    """Mean IoU in % over the classes that the ground truth shows; rows are predictions."""
    return 100 * float(class_iou(confusion)[confusion.sum(axis=0) > 0].mean())


@dataclass(frozen=True, slots=True)
class LabelledMap:
    """A photo's frozen features [D, h, w], its ground truth [H, W] in class indices (VOID_CLASS: none), and the classes of its cells' centres."""

    features: Float[Tensor, "D h w"]
    truth: Int[Tensor, "H W"]

    @property
    def cells(self) -> Int[Tensor, "h w"]:
        """The class at the centre of each cell."""
        height, width = self.features.shape[1:]
        rows = ((torch.arange(height) + 0.5) / height * self.truth.shape[0]).long()
        columns = ((torch.arange(width) + 0.5) / width * self.truth.shape[1]).long()
        return self.truth[rows][:, columns]


def labelled_maps(store: FeatureStore, *, shards: str, config: Config, labels: LabelMap) -> Iterator[LabelledMap]:
    """The frozen backbone's features and the ground truth of every photo of a store, in order."""
    reader = build.open_reader(shards, key="--train", data=config.data)
    features = (row for chunk in store.column(PHOTOS, patches_of(TRAINED_BACKBONE)).chunks() for row in chunk)
    for index, of_photo in enumerate(features):
        truth = read_sample(reader, index, with_segments=True).segments
        assert truth is not None, "the store has counted it"
        yield LabelledMap(torch.from_numpy(numpy.array(of_photo)).permute(2, 0, 1), torch.from_numpy(labels.apply(truth.numpy())).long())


@dataclass(frozen=True, slots=True)
class Probe:
    """Softmax regression on standardised features."""

    mean: Float[Tensor, " D"]
    std: Float[Tensor, " D"]
    weight: Float[Tensor, "D C"]
    bias: Float[Tensor, " C"]

    def classes(self, photo: LabelledMap) -> Int[Tensor, "H W"]:
        """The class of each pixel: the largest of the scores, upsampled bilinearly."""
        scores = ((photo.features.float().permute(1, 2, 0) - self.mean) / self.std) @ self.weight + self.bias
        return interpolate(scores.permute(2, 0, 1)[None], size=photo.truth.shape, mode="bilinear", align_corners=False)[0].argmax(dim=0)


def fitted_probe(photos: Sequence[LabelledMap], *, num_classes: int) -> Probe:
    """A probe whose L2 was chosen on every fifth photo, then fitted to all."""
    held, rest = photos[::5], [photo for place, photo in enumerate(photos) if place % 5]
    losses = [_loss(_fit(rest, num_classes=num_classes, decay=decay), photos=held) for decay in DECAYS]
    return _fit(photos, num_classes=num_classes, decay=DECAYS[int(numpy.argmin(losses))])


def _cells(photos: Sequence[LabelledMap]) -> tuple[Float[Tensor, "N D"], Int[Tensor, " N"]]:
    features = torch.cat([photo.features[:, ::CELL_STEP, ::CELL_STEP].flatten(1).T.float() for photo in photos])
    classes = torch.cat([photo.cells[::CELL_STEP, ::CELL_STEP].flatten() for photo in photos])
    counted = classes != VOID_CLASS
    return features[counted], classes[counted]


def _fit(photos: Sequence[LabelledMap], *, num_classes: int, decay: float) -> Probe:
    features, classes = _cells(photos)
    mean, std = features.mean(dim=0), features.std(dim=0).clamp(min=1e-4)
    inputs = (features - mean) / std
    weight, bias = torch.zeros(features.shape[1], num_classes, requires_grad=True), torch.zeros(num_classes, requires_grad=True)
    optimiser = torch.optim.LBFGS([weight, bias], max_iter=LBFGS_STEPS, line_search_fn="strong_wolfe")

    def closure() -> Tensor:
        optimiser.zero_grad()
        loss = cross_entropy(inputs @ weight + bias, classes) + decay * weight.square().sum()
        loss.backward()
        return loss

    optimiser.step(closure)  # type: ignore[arg-type]  # torch types a closure as returning a number
    return Probe(mean, std, weight.detach(), bias.detach())


def _loss(probe: Probe, *, photos: Sequence[LabelledMap]) -> float:
    features, classes = _cells(photos)
    return float(cross_entropy((features - probe.mean) / probe.std @ probe.weight + probe.bias, classes))


def miou_of_probes(probes: Sequence[Probe], *, photos: Iterator[LabelledMap], num_classes: int) -> list[float]:
    """mIoU in % of each probe, over photos that are looked at once."""
    confusions = numpy.zeros((len(probes), num_classes, num_classes), dtype=numpy.int64)
    for photo in photos:
        counted = photo.truth != VOID_CLASS
        for place, probe in enumerate(probes):
            cells = probe.classes(photo)[counted] * num_classes + photo.truth[counted]
            confusions[place] += torch.bincount(cells, minlength=num_classes**2).view(num_classes, num_classes).numpy()
    return [miou(confusion) for confusion in confusions]


def main(
    run_folder: Annotated[Path, typer.Argument(metavar="RUN", help="A trained run; its catalogue serves where it is of --train.", show_default=False)],
    train: Annotated[str, typer.Option(help="Shards of training photos with ground truth.", show_default=False)],
    val: Annotated[str, typer.Option(help="Shards of other photos with ground truth.", show_default=False)],
    title: Annotated[str, typer.Option(help="What the data set is called.")] = "",
    classes: Annotated[str, typer.Option(help="evaluate.classes, where the run does not say: {background: [0], cat: [8]}")] = "",
    limit_train: Annotated[int, typer.Option(help="Only the first N photos of --train; 0: all.")] = 0,
    limit_probe: Annotated[int, typer.Option(help="Draw photos to label from the first N of --train only; 0: from all that are clustered.")] = 0,
    limit_val: Annotated[int, typer.Option(help="Only the first N photos of --val; 0: all.")] = 0,
    seeds: Annotated[int, typer.Option(min=1, help="Seeds of K-means, and draws of labelled photos.")] = 3,
    json_path: Annotated[Path | None, typer.Option("--json", help="Write all rows here.", show_default=False)] = None,
) -> None:
    """Print and keep mIoU against the number of names typed, and against as many photos labelled by hand."""
    run_dir = RunDir(run_folder)
    config = load_run_config(run_dir, overrides=[f"evaluate.classes={classes}"] if classes else [])
    if not config.evaluate.classes:
        raise ConfigError("expected the classes of the ground truth, got none; name them with --classes '{background: [0], cat: [8]}'")
    described = find_classes(config.evaluate.classes, key="evaluate.classes")
    labels = label_map(described.ids, has_background=described.has_background)
    names = labels.names
    train_store, probe_store, val_store = (
        _store(run_dir, shards=shards, limit=limit, patches=patches)
        for shards, limit, patches in ((train, limit_train, False), (train, limit_probe or limit_train, True), (val, limit_val, True))
    )
    train_objects, val_objects = objects_in(train_store, labels=labels), objects_in(val_store, labels=labels)
    default = Catalogue.open(run_dir).clusters if run_dir.catalogue.is_dir() else fit_clusters(train_objects.vectors, num_clusters=50).clusters

    shape = f"{title or run_dir.root.name}: {train_store.num_photos:,} training photos, {val_store.num_photos:,} others, {len(names)} classes"
    rows: list[Measurement] = []

    def add(provider: str, number: int, values: Sequence[float]) -> None:
        rows.append(
            measurement(
                values, benchmark="labels_per_click", provider=provider, mode=str(number), shape=shape, metric="mIoU", unit="%", device=torch.device("cpu")
            )
        )

    for number in NUM_NAMES:
        if number <= default.num_clusters:
            named = named_by_majority(default, train=train_objects, num_names=number, names=names)
            add(f"names, {default.num_clusters} clusters", number, [miou_of_classes(named, val=val_objects, names=names)])
        fits = [fit_clusters(train_objects.vectors, num_clusters=number, seed=seed).clusters for seed in range(seeds)]
        named_fits = [named_by_majority(fit, train=train_objects, num_names=number, names=names) for fit in fits]
        add("names, as many clusters", number, [miou_of_classes(named, val=val_objects, names=names) for named in named_fits])

    maps = list(labelled_maps(probe_store, shards=train, config=config, labels=labels))
    draws = [numpy.random.default_rng(seed).permutation(len(maps)) for seed in range(seeds)]
    chosen = {(number, frozenset(draw[:number].tolist())) for draw in draws for number in NUM_NAMES}
    sets = sorted(chosen, key=lambda each: (each[0], sorted(each[1])))  # equal draws, of all photos there are, are one
    probes = [fitted_probe([maps[index] for index in sorted(indices)], num_classes=len(names)) for _, indices in sets]
    photos = labelled_maps(val_store, shards=val, config=config, labels=labels)
    scores = miou_of_probes(probes, photos=photos, num_classes=len(names))
    for number in NUM_NAMES:
        add("photos labelled by hand, linear probe", number, [score for (labelled, _), score in zip(sets, scores, strict=True) if labelled == number])
    publish(rows, json_path=json_path)


def _store(run_dir: RunDir, *, shards: str, limit: int, patches: bool) -> FeatureStore:
    """What the run's encoders say about the first photos of some shards: made where it is not there."""
    settings = ["evaluate.objects=components", f"evaluate.limit={limit}", "run.num_threads=1", "data.num_workers=0"]
    store = embed_run(run_dir, overrides=settings, which="newest", shards=shards, patches=patches)
    assert store is not None, "this process is the first rank"
    return store


def quick(folder: Path) -> list[str]:
    """Arguments of `--quick`."""
    run_folder, train, val = inputs.catalogued_run(folder)
    return [run_folder, "--train", train, "--val", val, "--seeds", "1"]


if __name__ == "__main__":
    run(main, quick=quick)
