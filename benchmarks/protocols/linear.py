"""How much faster is maskcontrast-linear-fast than maskcontrast-linear/clean, and how far apart are their scores?

    OMP_NUM_THREADS=1 python -m benchmarks.protocols.linear --json benchmarks/protocols/results/linear.json
    OMP_NUM_THREADS=1 python -m benchmarks.protocols.linear --judged STORE --fitted STORE --classes voc_animals --features "trained decoder"

Both fit the same probe to the same stored features; time is that of the fit alone, of reading too, and not of scoring. Without stores of your own (folders
in RUN/features of runs that were judged by either protocol), the features are generated, with classes in bands under noise.
"""

import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated

import torch
import typer

from benchmarks.harness.command import run
from benchmarks.harness.measurement import Measurement, measurement, publish
from benchmarks.protocols.memory import NUM_CLASSES, SIZE_PX, generate
from mcdist.config.classes import find_classes
from mcdist.distributed import ALONE
from mcdist.errors import DataError
from mcdist.evaluate.label_maps import LabelMaps
from mcdist.evaluate.metrics.confusion import TRUE_PX, class_counts, counts_iou
from mcdist.evaluate.metrics.labels import LabelMap, label_map
from mcdist.evaluate.protocols.linear import PUBLISHED_SCHEDULE, FastSwitches, Fitted, SgdSwitches, fit_fast, fit_sgd, probe_counts
from mcdist.evaluate.table_names import patches_of
from mcdist.records.names import BACKBONE
from mcdist.store.names import PHOTOS
from mcdist.store.store import Column, FeatureStore

APART_MAX = 5.0
"""In points of mIoU; two probes that differ by more are not the same probe, and are not timed."""


@dataclass(frozen=True, slots=True)
class Photos:
    """Features and ground truth of some photos."""

    features: Column
    maps: LabelMaps
    size_px: int


def photos_of(folder: Path, *, features: str, labels: LabelMap) -> Photos:
    """Those of a feature store."""
    store = FeatureStore(folder)
    return Photos(store.column(PHOTOS, patches_of(features)), LabelMaps(store, labels=labels), int(store.manifest.plan.settings["size_px"]))


def fits(fitted: Photos, *, num_seeds: int) -> dict[str, Callable[[], Iterator[Fitted]]]:
    """The probe after each epoch, by what fits it; the fast one draws other pixels with each seed."""
    sgd = SgdSwitches(schedule=PUBLISHED_SCHEDULE, standardise=True, checkpoint="the last epoch")
    slow = partial(fit_sgd, fitted.features, maps=fitted.maps, num_classes=len(fitted.maps.labels.names), size_px=fitted.size_px, switches=sgd)
    fast = partial(fit_fast, fitted.features, maps=fitted.maps, num_classes=len(fitted.maps.labels.names), size_px=fitted.size_px)
    return {"clean": slow, **{f"fast, seed {seed}": partial(fast, switches=FastSwitches(seed=seed)) for seed in range(num_seeds)}}


def measured(judged: Photos, fitted: Photos, *, num_seeds: int, shape: str) -> list[Measurement]:
    """Time of each fit, and the score of its last epoch."""
    rows, scores = [], {}
    for provider, fit in fits(fitted, num_seeds=num_seeds).items():
        began_s, began_cpu_s = time.perf_counter(), time.process_time()
        probe = list(fit())[-1]
        wall_s, cpu_s = time.perf_counter() - began_s, time.process_time() - began_cpu_s
        scores[provider] = miou_percent(probe, judged=judged)
        row = partial(measurement, benchmark="linear", provider=provider, mode="fit", shape=shape, device=torch.device("cpu"))
        rows += [
            row([wall_s], metric="wall time", unit="s"),
            row([cpu_s], metric="processor time", unit="s"),
            row([scores[provider]], metric="mIoU", unit="%"),
        ]
    if apart := [name for name, score in scores.items() if abs(score - scores["clean"]) > APART_MAX]:
        raise DataError(f"{', '.join(apart)} and clean differ by more than {APART_MAX} points of mIoU: {scores}; they are not the same probe")
    return rows


def miou_percent(probe: Fitted, *, judged: Photos) -> float:
    """Over the classes that the judged photos show."""
    total = class_counts(probe_counts(probe, features=judged.features, maps=judged.maps, size_px=judged.size_px, world=ALONE)[0])
    return float(100 * counts_iou(total)[total[:, TRUE_PX] > 0].mean())


def main(
    judged: Annotated[Path | None, typer.Option(help="A feature store to score on.")] = None,
    fitted: Annotated[Path | None, typer.Option(help="A feature store to fit on.")] = None,
    classes: Annotated[str, typer.Option(help="Their classes, as evaluate.classes.")] = "voc_animals",
    features: Annotated[str, typer.Option(help="Whose features.")] = BACKBONE,
    num: Annotated[int, typer.Option(min=2, help="Generated photos, as many to fit on as to score on.")] = 48,
    dims: Annotated[int, typer.Option(min=2, help="Their length.")] = 160,
    seeds: Annotated[int, typer.Option(min=1, help="Draws of the fast one.")] = 2,
    json: Annotated[Path | None, typer.Option(help="Write all rows to this file.")] = None,
) -> None:
    """The fast linear probe beside the one that sees all pixels."""
    with tempfile.TemporaryDirectory() as folder:
        if judged is not None and fitted is not None:
            described = find_classes(classes, key="--classes")
            labels = label_map(described.ids, has_background=described.has_background)
        else:
            labels = label_map({f"class {number}": [number] for number in range(NUM_CLASSES)})
            judged, fitted = Path(folder) / "judged", Path(folder) / "fitted"
            for seed, path in enumerate((judged, fitted)):
                generate(path, num_photos=num, num_dims=dims, grid=SIZE_PX // 8, seed=seed)
        both = [photos_of(path, features=features, labels=labels) for path in (judged, fitted)]
        shape = (
            f"{features}: {len(both[1].maps):,} photos to fit on, {len(both[0].maps):,} to score on, {both[1].size_px} px, D = {both[1].features.row_shape[-1]}"
        )
        rows = measured(both[0], both[1], num_seeds=seeds, shape=shape)
    publish(rows, json_path=json)


QUICK = ("--num", "24", "--dims", "32", "--seeds", "1")

if __name__ == "__main__":
    run(main, quick=QUICK)
