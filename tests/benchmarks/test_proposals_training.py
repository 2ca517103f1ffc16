"""The comparison of masks by training on them: which photos, what the table says, and once the whole way on six pictures."""

import importlib
import json
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import numpy
import pytest
from PIL import Image

from mcdist.errors import ConfigError

ROOT = Path(__file__).parents[2]
CONFIG = ROOT / "configs" / "voc_animals_imagenet.yaml"


@pytest.fixture
def script() -> ModuleType:
    return importlib.import_module("benchmarks.proposals.training")


@pytest.fixture
def voc(tmp_path: Path) -> Path:
    """Six photos of a bright square, with ground truth (class 8) and two folders of masks: the square, and one pixel wider."""
    root = tmp_path / "voc" / "VOC2012"
    random = numpy.random.default_rng(0)
    for number in range(6):
        square = numpy.zeros((64, 64), dtype=bool)
        square[10 + number : 40, 20:50] = True
        photo = random.integers(0, 90, (64, 64, 3)) + 140 * square[..., None]
        maps = {"SegmentationClassAug": 8 * square, "exact": 255 * square, "wide": 255 * (square | numpy.roll(square, 1, axis=1))}
        for folder, values in {"JPEGImages": photo, **maps}.items():
            (root / folder).mkdir(parents=True, exist_ok=True)
            name = f"p{number}.jpg" if folder == "JPEGImages" else f"p{number}.png"
            Image.fromarray(values.astype(numpy.uint8)).save(root / folder / name)
    lists = root / "ImageSets" / "Segmentation"
    lists.mkdir(parents=True)
    (lists / "trainaug.txt").write_text("p0\np1\np2\np3\n")
    (lists / "val.txt").write_text("p4\np5\n")
    return root.parent


def test_the_photos_are_the_first_by_their_checksum_whatever_the_lists_order(script, voc):
    some = script._ids(voc, split="trainaug", num=2)
    listed = voc / "VOC2012" / "ImageSets" / "Segmentation" / "trainaug.txt"
    listed.write_text("p3\np2\np1\np0\n")
    assert script._ids(voc, split="trainaug", num=2) == some
    assert sorted(script._ids(voc, split="trainaug", num=0)) == ["p0", "p1", "p2", "p3"]


def test_masks_are_a_name_and_a_folder(script, tmp_path):
    assert script._name_and_folder(f"mine={tmp_path}") == ("mine", str(tmp_path))
    assert script._name_and_folder("given=saliency_supervised") == ("given", "saliency_supervised")
    for wrong in ("masks", "=masks", "a/b=masks"):
        with pytest.raises(ConfigError, match="--masks wants NAME=DIR, got"):
            script._name_and_folder(wrong)


def test_the_table_says_means_and_spreads_and_how_many_photos(script):
    outcome = script.Outcome("mine", 597, (50.0, 60.0), {"predicted, maskcontrast-kmeans, trained": (30.0, 34.0)})
    lines = script._table([outcome], num_photos=600, num_val=200).splitlines()
    assert lines[0].startswith("trained on at most 600 photos, evaluated on 200") and "over 2 trainings" in lines[0]
    assert lines[-1] == "| mine | 597 | 55.0 ± 5.0 | 32.0 ± 2.0 |"


@pytest.mark.slow
def test_the_whole_way_and_a_second_call_trains_nothing_again(voc, tmp_path):
    settings = ["model.backbone=resnet18", "model.weights=none", "model.num_stages=3", "model.trainable_from=0", "model.decoder=linear", "model.bank_size=4"]
    settings += ["views.size_px=32", "optim.global_batch=2", "optim.epochs=1", "data.num_lanes=1", "data.num_workers=0", "run.device=cpu", "run.num_threads=1"]
    settings += ["evaluate.size_px=32", "evaluate.num_panels=0", "evaluate.num_seeds=2", "evaluate.num_clusters=1", "report.mlflow=off"]
    masks = ["--masks", f"wide={voc / 'VOC2012' / 'wide'}", "--val-masks", "exact"]
    work, rows = tmp_path / "work", tmp_path / "rows.json"
    command = [sys.executable, "-m", "benchmarks.proposals.training", voc, CONFIG, *masks, "--photos", 3, "--work", work, "--json", rows, *settings]
    written = set()
    for _ in range(2):
        done = subprocess.run([str(part) for part in command], cwd=ROOT, capture_output=True, stdin=subprocess.DEVNULL, text=True, timeout=600)
        assert done.returncode == 0, done.stdout + done.stderr
        written.add((work / "runs" / "wide-seed0" / "metrics.jsonl").stat().st_mtime_ns)
    assert len(written) == 1
    content = json.loads(rows.read_text())
    assert [(row["masks"], row["num_photos"]) for row in content["rows"]] == [("wide", 3)] and content["num_ids"] == 3
    assert len(content["rows"][0]["miou_percent"]["predicted, maskcontrast-kmeans, trained"]) == 1
    assert done.stdout.count("| wide |") == 1
