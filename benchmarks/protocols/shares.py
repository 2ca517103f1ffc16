"""What does judging cost beside extracting the store that is judged?

    OMP_NUM_THREADS=1 python -m benchmarks.protocols.shares runs/voc --shards shards/val --train-shards shards/train
    OMP_NUM_THREADS=1 python -m benchmarks.protocols.shares runs/voc --shards shards/val --protocol maskcontrast-kmeans

The photos are embedded into a store of their own, in this process and without workers, then every protocol judges it. Processor time compares on a busy
machine too; wall time does not. The last line is the time of all protocols together over that of the extraction.
"""

import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import torch
import typer

from benchmarks.harness import inputs
from benchmarks.harness.command import run
from benchmarks.harness.measurement import Measurement, measurement, publish
from mcdist import build
from mcdist.config.classes import find_classes
from mcdist.config.file import load_run_config
from mcdist.distributed import ALONE
from mcdist.evaluate.metrics.labels import LabelMap, label_map
from mcdist.evaluate.protocols.protocol import Protocol
from mcdist.evaluate.protocols.registry import make_protocols
from mcdist.evaluate.settings import Kept
from mcdist.evaluate.truth import read_truth
from mcdist.evaluate.view import StoreView
from mcdist.passes.extraction import Looker, extracted, look_at, look_at_train
from mcdist.report.console import Console
from mcdist.run_dir import RunDir

PROTOCOLS = (
    "maskcontrast-kmeans",
    "mean-embedding",
    "object-graph",
    "object-accuracy",
    "maskcontrast-retrieval-21/clean",
    "maskcontrast-linear-fast",
    "overcluster-classes/clean",
    "hummingbird/clean",
    "logreg-probe/clean",
    "scene-probes/clean",
)
"""Ten, one of each kind."""


def timed(do: Callable[[], Any], *, provider: str, shape: str, found: list[Any]) -> list[Measurement]:
    """Wall and processor time of one call."""
    began_s, began_cpu_s = time.perf_counter(), time.process_time()
    found.append(do())
    row = partial(measurement, benchmark="shares", provider=provider, mode="evaluate", shape=shape, device=torch.device("cpu"))
    return [
        row([time.perf_counter() - began_s], metric="time", unit="s"),
        row([time.process_time() - began_cpu_s], metric="processor time", unit="s"),
    ]


def stores(looker: Looker, train: Looker | None, *, run_dir: RunDir, folder: Path, labels: LabelMap) -> StoreView:
    """The store of the judged photos, and of those to fit on."""

    def view(one: Looker, name: str) -> StoreView:
        store = extracted(one, run_dir, out=folder / name, world=ALONE, console=Console(mode="off", total_steps=1, samples_per_step=1))
        return StoreView(store, dataset=name, truth=read_truth(store, labels=labels, dataset=one.location))

    judged = view(looker, "judged")
    return judged if train is None else replace(judged, train=view(train, "fitted"))


def main(
    run_folder: Annotated[Path, typer.Argument(help="The folder of a run.")],
    shards: Annotated[str, typer.Option(help="Shards of photos with ground truth to judge on.")],
    train_shards: Annotated[str, typer.Option(help="Shards of photos with ground truth to fit probes on.")] = "",
    protocol: Annotated[list[str] | None, typer.Option(help="Which; several may be named. Default: ten.")] = None,
    override: Annotated[list[str] | None, typer.Option(help="KEY=VALUE of the configuration; several may be given.")] = None,
    json: Annotated[Path | None, typer.Option(help="Write all rows to this file.")] = None,
) -> None:
    """Time of an extraction and of each protocol on it."""
    run_dir = RunDir(run_folder)
    config = load_run_config(run_dir, overrides=[f"data.val={shards}", "data.num_workers=0", *(override or [])])
    chosen: tuple[Protocol, ...] = make_protocols(protocol or PROTOCOLS, settings=build.judge_settings(config))
    needs = set[str]().union(*(one.needs for one in chosen))
    kept = Kept(patches="patches" in needs, decoded="decoded" in needs, label_maps="label maps" in needs, mirrored="mirrored patches" in needs)
    looker = look_at(config, run_dir, which="newest", kept=kept)
    classes = find_classes(config.evaluate.classes, key="evaluate.classes")
    labels = label_map(classes.ids, has_background=classes.has_background)
    train = look_at_train(looker, shards=train_shards) if train_shards else None
    shape = f"{looker.num_photos} photos, {train.num_photos if train else 0} to fit on, {config.evaluate.num_seeds} seeds"
    with tempfile.TemporaryDirectory() as folder:
        found: list[Any] = []
        make = partial(stores, looker, train, run_dir=run_dir, folder=Path(folder), labels=labels)
        rows = timed(make, provider="extraction", shape=shape, found=found)
        for one in chosen:
            rows += timed(partial(one.judge, found[0]), provider=one.name, shape=shape, found=[])
    publish(rows, json_path=json)
    cpu_s = [row.median for row in rows if row.metric == "processor time"]
    typer.echo(f"{len(chosen)} protocols take {sum(cpu_s[1:]) / cpu_s[0]:.2f} x the processor time of the extraction")


def quick(folder: Path) -> list[str]:
    """Arguments of `--quick`."""
    run_folder, train, val = inputs.catalogued_run(folder)
    return [run_folder, "--shards", val, "--train-shards", train, "--protocol", "mean-embedding", "--protocol", "object-accuracy"]


if __name__ == "__main__":
    run(main, quick=quick)
