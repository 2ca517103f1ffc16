"""How good is each proposal method on real photos, and how fast? All methods on VOC animals val, MSRC-v2 and DAVIS frames.

    python -m benchmarks.proposals.quality --data ../shared/data --json benchmarks/proposals/results/proposals.json
    python -m benchmarks.proposals.quality --table benchmarks/proposals/results/proposals.json

The first measures (rows already in the file are kept, so that a stopped run goes on), the second prints the table of docs/proposals.md.
"""

import json
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import torch
import typer

from benchmarks.harness import inputs
from benchmarks.harness.command import run
from benchmarks.harness.measurement import circumstances, load_average
from mcdist.cli.options import read_options
from mcdist.errors import ConfigError, DataError
from mcdist.machine.cores import num_cores
from mcdist.proposals.folder.propose_folder import propose_folder
from mcdist.proposals.quality.evaluate_folder import judge_folder, spread
from mcdist.proposals.quality.truth import Truth
from mcdist.run_dir import write_atomically

CLASSICAL = (
    "ensemble",
    "barrier_distance",
    "manifold_ranking",
    "background_detection",
    "frequency_tuned",
    "spectral_residual",
    "felzenszwalb",
    "hierarchy",
    "ensemble:threshold=adaptive",
    "ensemble+guided",
    "ensemble+crf",
)
"""Need nothing but this package. Others are given as --methods name:key=value,key=value+refinement."""

VOC_ANIMALS = (8, 10, 12, 13, 15, 17)
"""cat, cow, dog, horse, person, sheep."""
MSRC_STUFF = (1, 2, 3, 7, 8, 10, 19)
"""building, grass, tree, sky, mountain, water, road."""


@dataclass(frozen=True, slots=True)
class DataSet:
    """Where photos and ground truth lie, and which measure leads its columns."""

    name: str
    photos: dict[str, Path]
    truth: Truth
    supervised: Path | None


def voc_animals(root: Path) -> DataSet:
    """The 437 photos of the val list."""
    home = root / "voc_animals" / "VOCdevkit" / "VOC2012"
    ids = (home / "ImageSets" / "Segmentation" / "val.txt").read_text().split()
    photos = {f"{name}.jpg": home / "JPEGImages" / f"{name}.jpg" for name in ids}
    return DataSet("voc_animals", photos, Truth(home / "SegmentationClassAug", foreground=VOC_ANIMALS), home / "saliency_supervised")


def msrc_v2(root: Path) -> DataSet:
    """All 591 photos; stuff is background."""
    home = root / "msrc_v2"
    photos = {path.name: path for path in sorted((home / "images").glob("*.jpg"))}
    return DataSet("msrc_v2", photos, Truth(home / "labels", background=MSRC_STUFF, void=(0,)), home / "saliency_supervised")


def davis(root: Path) -> DataSet:
    """Every frame that is there, each a photo of its own."""
    home = root / "davis"
    frames = home / "JPEGImages" / "480p"
    photos = {path.relative_to(frames).as_posix(): path for path in sorted(frames.rglob("*.jpg"))}
    return DataSet("davis", photos, Truth(home / "Annotations" / "480p"), None)


DATA = {"voc_animals": voc_animals, "msrc_v2": msrc_v2, "davis": davis}


def measure(data: DataSet, *, method: str, num_workers: int, limit: int, device: str) -> dict[str, Any]:
    """One row: proposals of all photos, in a folder that is gone afterwards, judged."""
    name, options, refine = read_method(method, data=data)
    chosen = spread(list(data.photos), num=limit)
    with tempfile.TemporaryDirectory(prefix="mcdist-proposals-") as folder:
        photos, out, soft = Path(folder) / "photos", Path(folder) / "out", Path(folder) / "soft"
        for photo in chosen:
            (photos / photo).parent.mkdir(parents=True, exist_ok=True)
            (photos / photo).symlink_to(data.photos[photo].resolve())
        ready_s = [0.0]
        done = propose_folder(
            photos,
            out=out,
            method=name,
            options=options,
            refine=refine,
            device=device,
            num_workers=num_workers,
            confidence=soft,
            say_total=lambda _: ready_s.__setitem__(0, time.monotonic()),
        )
        wall_s = time.monotonic() - ready_s[0]
        judged = judge_folder(out, truth=data.truth, confidence=soft)
    return {
        "data": data.name,
        "method": method,
        **{key: done.about[key] for key in ("version", "parameters", "refine")},
        "num_photos": len(chosen),
        "num_photos_in_data": len(data.photos),
        "outcomes": done.summary.outcomes,
        **{key: value for key, value in judged.to_dict().items() if key != "num_photos"},
        "photos_per_s": round(len(chosen) / wall_s, 2),
        "num_workers": num_workers,
        "load": load_average(),
        **circumstances(torch.device(device), num_threads=torch.get_num_threads()),
    }


def read_method(text: str, *, data: DataSet) -> tuple[str, dict[str, str], str]:
    """`name:key=value,key=value+refinement` as its parts; `files` without masks takes the data set's supervised saliency."""
    body, _, refine = text.partition("+")
    name, _, listed = body.partition(":")
    options = read_options([part for part in listed.split(",") if part])
    if name == "files" and "masks" not in options:
        if data.supervised is None:
            raise DataError(f"{data.name} has no masks on disk")
        options["masks"] = str(data.supervised)
    return name, options, refine or "none"


def table_of(rows: list[dict[str, Any]]) -> str:
    """Markdown: a line a method, the best foreground IoU first; a dash where it was not measured."""
    by_method: dict[str, dict[str, dict[str, Any]]] = {}
    for row in rows:
        by_method.setdefault(row["method"], {})[row["data"]] = row
    lead = [
        "| method | VOC animals val: IoU | max-F | MAE | boundary F | MSRC-v2: IoU | boundary F | purity | DAVIS: mean J | photos/s |",
        "|---|---:|---:|---:|---:|---:|---:|---:|---:|---:|",
    ]
    ordered = sorted(by_method.items(), key=lambda pair: -_value(pair[1], "voc_animals", "foreground_iou"))
    lines = []
    for method, found in ordered:
        voc = [_cell(found, "voc_animals", key) for key in ("foreground_iou", "max_f", "mean_absolute_error", "boundary_f")]
        msrc = [_cell(found, "msrc_v2", key) for key in ("foreground_iou", "boundary_f", "purity")]
        speed = f"{found['voc_animals']['photos_per_s']:.1f}" if "voc_animals" in found else "–"
        lines.append("| " + " | ".join([f"`{method}`", *voc, *msrc, _cell(found, "davis", "mean_iou_per_photo"), speed]) + " |")
    subset = [row for row in rows if row["num_photos"] < row["num_photos_in_data"]]
    note = [f"On a subset of the photos: {row['num_photos']} of {row['num_photos_in_data']} of {row['data']}." for row in subset[:1]]
    about = sorted({f"{row['machine']}, {row['num_workers']} workers" for row in rows})
    return "\n".join([*lead, *lines, "", *note, f"Measured on: {'; '.join(about)}."])


def _value(found: dict[str, dict[str, Any]], data: str, key: str) -> float:
    return float(found.get(data, {}).get("values", {}).get(key, 0.0))


def _cell(found: dict[str, dict[str, Any]], data: str, key: str) -> str:
    value = found.get(data, {}).get("values", {}).get(key)
    return "–" if value is None else f"{value:.3f}"


def main(
    data: Annotated[Path, typer.Option(help="Folder with voc_animals, msrc_v2 and davis.")] = Path("../shared/data"),
    sets: Annotated[str, typer.Option(help="Which of them.")] = ",".join(DATA),
    methods: Annotated[str, typer.Option(help="Separated by spaces; each name:key=value,key=value+refinement.")] = " ".join(("files", *CLASSICAL)),
    workers: Annotated[int, typer.Option(min=1)] = num_cores(),  # noqa: B008
    device: Annotated[str, typer.Option()] = "cpu",
    limit: Annotated[int, typer.Option(min=0, help="Photos of each set, spread evenly; 0 for all.")] = 0,
    json_file: Annotated[Path | None, typer.Option("--json", help="Keep the rows here; those that are there are not measured again.")] = None,
    table: Annotated[Path | None, typer.Option(help="Only print the table of the rows in this file.")] = None,
) -> None:
    """Measure every method on every data set, or print the table of what was measured."""
    if table is not None:
        typer.echo(table_of(json.loads(table.read_text())))
        return
    unknown = [name for name in sets.split(",") if name not in DATA]
    if unknown:
        raise ConfigError(f"--sets wants some of {', '.join(DATA)}, got {', '.join(unknown)}")
    rows: list[dict[str, Any]] = json.loads(json_file.read_text()) if json_file is not None and json_file.is_file() else []
    for name in sets.split(","):
        found = DATA[name](data)
        for method in methods.split():
            if any((row["data"], row["method"]) == (name, method) for row in rows) or (method.startswith("files") and found.supervised is None):
                continue
            rows.append(measure(found, method=method, num_workers=workers, limit=limit, device=device))
            values = rows[-1]["values"]
            typer.echo(f"{name} {method}: IoU {values['foreground_iou']:.3f}, a photo {values['mean_iou_per_photo']:.3f}, {rows[-1]['photos_per_s']} photos/s")
            if json_file is not None:
                json_file.parent.mkdir(parents=True, exist_ok=True)
                write_atomically(json_file, json.dumps(rows, indent=1).encode() + b"\n")
    typer.echo(table_of(rows))


def quick(folder: Path) -> list[str]:
    """Arguments of `--quick`."""
    inputs.voc(folder, num_photos=6)
    return ["--data", str(folder), "--sets", "voc_animals", "--methods", "files barrier_distance", "--workers", "1"]


if __name__ == "__main__":
    run(main, quick=quick)
