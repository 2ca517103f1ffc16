"""Which masks should one train on? The same short training on the masks of several methods, and the K-means mIoU of each.

    python -m benchmarks.proposals.training data/voc configs/voc_animals_imagenet.yaml --masks ensemble=masks/ensemble --masks found=masks/found \
        --masks given=saliency_supervised --photos 600 --seed 0 --seed 1 --work work/masks views.size_px=96 optim.epochs=3

A DIR is a folder of proposals for the photos of --split, or the name of a folder in VOC2012. All methods see the same photos: the first --photos of the
split, in the order of the SHA-256 of their ids, so a **subset** unless it is all; a photo in which a method found nothing takes no part in its training.
All are evaluated on the same val photos with their ground truth: on the masks that the trained network predicts (`predicted`), and on one set of masks for
all, --val-masks (`given`), where only the embedding differs. Each value is the mean over the K-means seeds of one training; the spread is over training
seeds. Runs that are there are not trained again.
"""

import hashlib
import json
import subprocess
import sys
from dataclasses import asdict, dataclass
from itertools import product
from pathlib import Path
from typing import Annotated

import numpy
import typer

from benchmarks.harness import inputs
from benchmarks.harness.command import run
from mcdist.building.sources.voc import voc_folder
from mcdist.errors import ConfigError, McdistError
from mcdist.machine.environment import describe_environment
from mcdist.records import Evaluation, Subject
from mcdist.records.names import INITIAL, MASKCONTRAST_KMEANS, MEAN_EMBEDDING, PREDICTED, PROPOSALS, TRAINED
from mcdist.run_dir import RunDir, write_atomically


@dataclass(frozen=True, slots=True)
class Outcome:
    """One method: photos it could train on, and for each row of the table one mIoU (%) a training seed; `mask_iou_percent`: of the predicted masks."""

    masks: str
    num_photos: int
    mask_iou_percent: tuple[float, ...]
    miou_percent: dict[str, tuple[float, ...]]


def main(
    voc: Annotated[Path, typer.Argument(metavar="VOC", help="Folder that holds VOCdevkit, or is VOC2012.", show_default=False)],
    config: Annotated[Path, typer.Argument(metavar="CONFIG", help="The training's configuration.", show_default=False)],
    masks: Annotated[list[str], typer.Option(metavar="NAME=DIR", help="A method and its folder of masks; several times.", show_default=False)],
    work: Annotated[Path, typer.Option(help="Folder for shards and runs.", show_default=False)],
    overrides: Annotated[list[str] | None, typer.Argument(metavar="[KEY=VALUE]...", help="Settings over the configuration's, for all runs.")] = None,
    seed: Annotated[list[int] | None, typer.Option(help="A training seed; several times. [default: 0]", show_default=False)] = None,
    photos: Annotated[int, typer.Option(min=0, help="Train on so many photos of the split; 0: all.")] = 0,
    split: Annotated[str, typer.Option(help="ImageSets/Segmentation/SPLIT.txt.")] = "trainaug",
    val_masks: Annotated[str, typer.Option(help="The masks of the rows `given`, for all methods alike.")] = "saliency_supervised",
    json_path: Annotated[Path | None, typer.Option("--json", help="Write all numbers here.", show_default=False)] = None,
) -> None:
    """Train on each method's masks with each seed, evaluate, print the table."""
    named = dict(_name_and_folder(text) for text in masks)
    work.mkdir(parents=True, exist_ok=True)
    ids = _ids(voc, split=split, num=photos)
    ids_file = work / "ids.txt"
    write_atomically(ids_file, ("\n".join(ids) + "\n").encode())
    val = _shards(work / "shards" / "val", voc, "--split", "val", "--proposals", val_masks, "--keep-empty")
    outcomes = []
    for name, folder in named.items():
        train = _shards(work / "shards" / name, voc, "--ids", ids_file, "--proposals", folder, "--no-labels", "--max-skipped-share", "1")
        places = [f"data.train={train}", f"data.val={val}"]
        evaluations = [
            _trained(work / "runs" / f"{name}-seed{one}", config=config, settings=[*(overrides or []), f"run.seed={one}", *places]) for one in seed or [0]
        ]
        outcomes.append(_outcome(name, train=train, evaluations=evaluations))
        typer.echo(_table(outcomes, num_photos=len(ids), num_val=evaluations[0].num_photos))
    if json_path is not None:
        facts = {"num_ids": len(ids), "overrides": overrides or [], "seeds": seed or [0], "rows": [asdict(one) for one in outcomes]}
        environment = describe_environment(device="cpu", num_ranks=1, precision="fp32")
        write_atomically(json_path, (json.dumps({**facts, "environment": environment}, indent=1) + "\n").encode())


def _name_and_folder(text: str) -> tuple[str, str]:
    name, equals, folder = text.partition("=")
    if not equals or not name or "/" in name:
        raise ConfigError(f"--masks wants NAME=DIR, got {text!r}")
    return name, str(Path(folder).resolve()) if Path(folder).is_dir() else folder


def _ids(voc: Path, *, split: str, num: int) -> list[str]:
    ids = (voc_folder(voc) / "ImageSets" / "Segmentation" / f"{split}.txt").read_text().split()
    chosen = sorted(ids, key=lambda photo: hashlib.sha256(photo.encode()).hexdigest())
    return chosen[: num or len(chosen)]


def _shards(out: Path, voc: Path, *options: object) -> Path:
    if not (out / "manifest.json").is_file():
        _call("shards", "build", "voc", voc, "--out", out, "--overwrite", *options)
    return out


def _trained(folder: Path, *, config: Path, settings: list[str]) -> Evaluation:
    run_dir = RunDir(folder)
    if not run_dir.evaluation.is_file():
        _call("mcdist", "train", config, f"run.dir={folder}", *settings)
        _call("mcdist", "evaluate", folder)
    return Evaluation.from_json(run_dir.evaluation.read_text(), where=str(run_dir.evaluation))


def _call(module: str, *arguments: object) -> None:
    command = [sys.executable, "-m", module, *(str(argument) for argument in arguments)]
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL, text=True)
    if done.returncode:
        raise McdistError(f"{' '.join(command[1:])} ended with exit code {done.returncode}: {done.stdout[-2000:]}")


def _outcome(name: str, *, train: Path, evaluations: list[Evaluation]) -> Outcome:
    rows: dict[str, tuple[float, ...]] = {}
    for (masks, told), protocol, encoder in product(
        ((PREDICTED, "predicted"), (PROPOSALS, "given")), (MASKCONTRAST_KMEANS, MEAN_EMBEDDING), (TRAINED, INITIAL)
    ):
        wanted = (protocol, Subject(encoder, masks))
        found = [[row.mean for row in one.rows if (row.protocol, row.subject) == wanted] for one in evaluations]
        rows[f"{told}, {protocol}, {encoder}"] = tuple(means[0] for means in found if means)  # of several numbers of clusters the first
    num_photos = json.loads((train / "manifest.json").read_text())["num_samples"]
    return Outcome(name, num_photos, tuple(one.mask_iou_percent.get("predicted", float("nan")) for one in evaluations), rows)


def _table(outcomes: list[Outcome], *, num_photos: int, num_val: int) -> str:
    """As Markdown, so that it can be quoted."""
    columns, num_seeds = list(outcomes[0].miou_percent), len(outcomes[0].mask_iou_percent)
    lines = [
        f"trained on at most {num_photos:,} photos, evaluated on {num_val:,}; % (mIoU), mean ± standard deviation over {num_seeds} trainings",
        "",
        "| masks | photos | IoU of predicted masks | " + " | ".join(columns) + " |",
        "|---|" + "---:|" * (2 + len(columns)),
    ]
    for one in outcomes:
        cells = [_spread(one.mask_iou_percent), *(_spread(values) for values in one.miou_percent.values())]
        lines.append(f"| {one.masks} | {one.num_photos:,} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def _spread(values: tuple[float, ...]) -> str:
    return f"{numpy.mean(values):.1f} ± {numpy.std(values):.1f}" if values else ""


def quick(folder: Path) -> list[str]:
    """Arguments of `--quick`."""
    home, work = inputs.voc(folder, num_photos=12), ["--work", str(folder / "work")]
    classes = ["evaluate.classes={background: [0], drawn: [1, 2, 3, 4, 5, 6, 7, 8, 9, 10]}", "evaluate.num_seeds=1"]
    return [str(home), inputs.CONFIG, "--masks", "given=saliency_supervised", *work, *inputs.SMALL, *classes, "optim.epochs=1"]


if __name__ == "__main__":
    run(main, quick=quick)
