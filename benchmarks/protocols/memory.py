"""Does the memory of a protocol grow with the number of photos?

    python -m benchmarks.protocols.memory --json benchmarks/protocols/results/memory.json
    python -m benchmarks.protocols.memory --protocol knn-probe/clean --grid 8 --dims 64

Feature stores are generated: photos of eight classes in bands, features that show the class under noise. Each protocol judges as many photos, fitted on as
many, as --judged and --fitted say; then --times as many judged photos, and --times as many to fit on. The peak is that of the process's own memory beyond
what it held when the protocol began; the store's pages, which are mapped, count nowhere. Few epochs, steps and values of a hyperparameter are taken: they
change the time and not the memory. Protocols that fit on nothing have no third row.
"""

import tempfile
import time
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import numpy
import torch
import typer

from benchmarks.harness.command import run
from benchmarks.harness.measurement import Measurement, measurement, peak_anonymous_mib, publish
from mcdist.errors import ConfigError, DataError
from mcdist.evaluate.metrics.labels import label_map
from mcdist.evaluate.protocols.registry import make_protocols
from mcdist.evaluate.settings import JudgeSettings
from mcdist.evaluate.table_names import BACKGROUND, HEIGHT, HISTOGRAM, ID, LABELS, NUM_IDS, PHOTO, WIDTH, mirrored_of, patches_of, vectors_of
from mcdist.evaluate.truth import read_truth
from mcdist.evaluate.view import StoreView
from mcdist.records.names import BACKBONE, LOGIT_SUM, PROPOSALS, UNIT_MEAN
from mcdist.store.names import PHOTOS
from mcdist.store.plan import StorePlan
from mcdist.store.store import FeatureStore
from mcdist.store.writer import StoreWriter, begin_store

OF_OBJECTS = ("mean-embedding", "object-graph", "object-accuracy", "maskcontrast-retrieval-21/clean")
PROTOCOLS = (
    *OF_OBJECTS,
    "maskcontrast-linear-fast",
    "maskcontrast-linear/clean",
    "overcluster-classes/clean",
    "hummingbird/clean",
    "logreg-probe/clean",
    "linear-100/clean",
    "scene-probes/clean",
)
"""Those whose time is linear in both numbers of photos. knn-probe's is quadratic in the photos to fit on: a tenth of them asks all others."""
NUM_CLASSES, SIZE_PX, CHUNK = 8, 128, 8
NUM_OBJECTS = 4
"""Objects of a photo: stripes from side to side, which leave nothing outside of them."""
MAPS = (patches_of(BACKBONE), mirrored_of(BACKBONE))


def generate(folder: Path, *, num_photos: int, num_dims: int, grid: int, seed: int) -> FeatureStore:
    """A store of `num_photos` photos whose patches show their class under noise of three times its length; so do the vectors of NUM_OBJECTS objects a photo."""
    plan = StorePlan(checkpoint={"backbone": "0" * 64}, data={"seed": seed}, settings={"size_px": SIZE_PX}, num_photos=num_photos, chunk=CHUNK)
    writer = StoreWriter(folder, plan=begin_store(folder, plan=plan))
    centres = numpy.random.default_rng(0).standard_normal((NUM_CLASSES, num_dims), dtype=numpy.float32)
    for place, photos in enumerate(plan.chunks):
        random = numpy.random.default_rng([seed, place])
        classes = numpy.sort(random.integers(NUM_CLASSES, size=(len(photos), grid)), axis=1)
        maps = numpy.repeat(centres[classes][:, None], grid, axis=1)
        noise = 3 * random.standard_normal(maps.shape, dtype=numpy.float32)
        labels = numpy.repeat(classes, SIZE_PX // grid, axis=1)[:, None].repeat(SIZE_PX, axis=1).astype(numpy.uint8)
        stripes = labels.reshape(len(photos), SIZE_PX, NUM_OBJECTS, -1).transpose(0, 2, 1, 3)
        in_objects = numpy.stack([numpy.bincount(one.ravel(), minlength=NUM_IDS) for one in stripes.reshape(len(photos) * NUM_OBJECTS, -1)]).astype(
            numpy.uint32
        )
        vectors = (maps + noise).reshape(len(photos), grid, NUM_OBJECTS, -1, num_dims).mean(axis=(1, 3)).reshape(-1, num_dims)
        counted = numpy.zeros((len(photos), NUM_IDS), dtype=numpy.uint32)
        size = numpy.full(len(photos), SIZE_PX, dtype=numpy.int32)
        writer.write(
            place,
            {
                PHOTOS: {HEIGHT: size, WIDTH: size, f"{BACKGROUND}/{PROPOSALS}": counted, **{name: (maps + noise).astype(numpy.float16) for name in MAPS}},
                PROPOSALS: {
                    PHOTO: numpy.repeat(numpy.asarray(photos, dtype=numpy.int64), NUM_OBJECTS),
                    HISTOGRAM: in_objects,
                    **{vectors_of(pooling, BACKBONE): vectors for pooling in (UNIT_MEAN, LOGIT_SUM)},
                },
                LABELS: {ID: labels.ravel()},
            },
        )
    columns = {
        PHOTOS: [HEIGHT, WIDTH, f"{BACKGROUND}/{PROPOSALS}", *MAPS],
        PROPOSALS: [PHOTO, HISTOGRAM, *(vectors_of(pooling, BACKBONE) for pooling in (UNIT_MEAN, LOGIT_SUM))],
        LABELS: [ID],
    }
    return writer.finish(columns)


def view_of(judged: FeatureStore, *, fitted: FeatureStore) -> StoreView:
    """Both stores with their ground truth."""
    labels = label_map({f"class {number}": [number] for number in range(NUM_CLASSES)})
    train = StoreView(fitted, dataset="fitted", truth=read_truth(fitted, labels=labels, dataset="fitted"))
    return StoreView(judged, dataset="judged", truth=read_truth(judged, labels=labels, dataset="judged"), train=train)


def short(name: str) -> Any:
    """The protocol, with little of whatever repeats the same work in the same memory."""
    protocol: Any = make_protocols([name], settings=JudgeSettings(pca_dim=0, mean_embedding_pca_dim=0, num_clusters=(0,), num_seeds=1, memory_size=4096))[0]
    changes: dict[str, dict[str, Any]] = {
        "overcluster-classes": {"num_starts": 2, "num_iterations": 5},
        "logreg-probe": {"inverse_penalties": (0.01,), "max_iterations": 10},
        "scene-probes": {"num_rounds": 1, "round_steps": 10},
    }
    few = changes.get(name.split("/")[0], {})
    if name == "maskcontrast-linear/clean":
        few = {"schedule": replace(protocol.switches.schedule, num_epochs=1)}
    if name.startswith("linear-100"):
        few = {"schedule": replace(protocol.switches.schedule, num_epochs=2)}
    return replace(protocol, switches=replace(protocol.switches, **few))


def measured(name: str, *, views: dict[str, StoreView], times: int) -> list[Measurement]:
    """Peak and processor time of one protocol on each pair of stores."""
    protocol, rows = short(name), []
    protocol.judge(views["1 x"])  # libraries, threads and tables are there before anything is measured
    for mode, view in views.items():
        if "fitted" in mode and "train labels" not in protocol.needs:
            continue
        began_s = time.process_time()
        found: list[Any] = []
        try:
            peak_mib = peak_anonymous_mib(partial(_judge, protocol, view, found))
        except OSError as error:
            raise ConfigError("the peak of memory is read from Linux' /proc/self, which this system lacks; run it on Linux") from error
        if not 100 / NUM_CLASSES < found[0][0].mean <= 100:
            raise DataError(f"{name} scores {found[0][0].mean:.1f} on features that show the classes, which is no better than chance; it is not measured")
        shape = f"{name}: {view.store.num_photos:,} judged photos, {view.known_train.store.num_photos:,} to fit on, {_num_mib(view):,.0f} MiB of features"
        row = partial(measurement, benchmark="memory", provider=name, mode=mode, shape=shape, device=torch.device("cpu"))
        rows += [
            row([peak_mib], metric="peak of own memory", unit="MiB"),
            row([time.process_time() - began_s], metric="processor time", unit="s"),
            row([found[0][0].mean], metric="mIoU", unit="%"),
        ]
    return rows


def _judge(protocol: Any, view: StoreView, found: list[Any]) -> None:
    found.append(protocol.judge(view))


def _num_mib(view: StoreView) -> float:
    """Of the features that a protocol reads, in float32."""
    num_values = sum(len(column) * int(numpy.prod(column.row_shape)) for column in (view.patches(BACKBONE), view.known_train.patches(BACKBONE)))
    return 4 * num_values / 2**20


def main(
    protocol: Annotated[list[str] | None, typer.Option(help="Which; several may be named. Default: all.")] = None,
    judged: Annotated[int, typer.Option(min=1, help="Photos to judge.")] = 160,
    fitted: Annotated[int, typer.Option(min=2, help="Photos to fit on.")] = 320,
    times: Annotated[int, typer.Option(min=2, help="How many times as many.")] = 8,
    dims: Annotated[int, typer.Option(min=2, help="Length of a patch's vector.")] = 128,
    grid: Annotated[int, typer.Option(min=1, help="Patches along a side of a photo; a divisor of 128.")] = 16,
    json: Annotated[Path | None, typer.Option(help="Write all rows to this file.")] = None,
) -> None:
    """Peak memory of protocols with few photos, with many judged ones, and with many to fit on."""
    names: Sequence[str] = protocol or PROTOCOLS
    with tempfile.TemporaryDirectory() as folder:
        sizes = {"few judged": judged, "many judged": times * judged, "few fitted": fitted, "many fitted": times * fitted}
        stores = {
            name: generate(Path(folder) / name.replace(" ", "_"), num_photos=num, num_dims=dims, grid=grid, seed=seed)
            for seed, (name, num) in enumerate(sizes.items())
        }
        views = {
            "1 x": view_of(stores["few judged"], fitted=stores["few fitted"]),
            f"{times} x judged": view_of(stores["many judged"], fitted=stores["few fitted"]),
            f"{times} x fitted": view_of(stores["few judged"], fitted=stores["many fitted"]),
        }
        rows = [row for name in names for row in measured(name, views=views, times=times)]
    publish(rows, json_path=json)


QUICK = ("--protocol", "logreg-probe/clean", "--judged", "16", "--fitted", "32", "--times", "2", "--grid", "8", "--dims", "32")

if __name__ == "__main__":
    run(main, quick=QUICK)
