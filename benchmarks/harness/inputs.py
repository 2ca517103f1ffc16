"""Generated inputs of a benchmark's `--quick`: photos with masks, shards, a folder in VOC's layout, a run with a catalogue. Nothing is downloaded.

All of it is the demo's drawn photos, few and small. A training on them learns nothing; what is measured is how long it takes.
"""

import io
from pathlib import Path

import numpy
from PIL import Image

from benchmarks.harness.progress import say
from mcdist.building.folder.build import build_shards
from mcdist.building.sources.demo.source import DemoPart, demo_source
from mcdist.data.shards.raw_sample import INSTANCES_MEMBER, SEGMENTS_MEMBER

CONFIG = "configs/demo_contrast.yaml"
SMALL = (
    "model.backbone=resnet18",
    "model.weights=none",
    "model.num_stages=3",
    "model.trainable_from=0",
    "model.bank_size=32",
    "views.size_px=64",
    "optim.global_batch=4",
    "data.num_lanes=1",
    "data.num_workers=0",
    "run.device=cpu",
    "run.num_threads=1",
    "report.mlflow=off",
)
"""Settings that make a step of CONFIG take a fraction of a second."""


def shards(folder: Path, *, num_photos: int, size_px: int = 128, part: DemoPart = "train") -> str:
    """A shard folder of generated photos with their proposals; `val` has ground truth too."""
    build_shards(demo_source(part, num_photos=num_photos, size_px=size_px), folder=folder)
    return str(folder)


def small_step(folder: Path) -> list[str]:
    """CONFIG and KEY=VALUE of a small training step on generated photos."""
    return [CONFIG, *SMALL, f"data.train={shards(folder / 'shards', num_photos=8)}"]


def photos_and_masks(folder: Path, *, num_photos: int, size_px: int = 256) -> tuple[str, str]:
    """Folders of JPEGs and of instance maps with the same names."""
    for name in ("photos", "masks"):
        (folder / name).mkdir(parents=True)
    source = demo_source("train", num_photos=num_photos, size_px=size_px)
    for item in source.items:
        members = source.make(item).members
        (folder / "photos" / f"{item.key}.jpg").write_bytes(members["jpg"])
        (folder / "masks" / f"{item.key}.png").write_bytes(members[INSTANCES_MEMBER])
    return str(folder / "photos"), str(folder / "masks")


def voc(folder: Path, *, num_photos: int) -> Path:
    """Generated photos where `benchmarks/proposals` looks for the VOC subset: lists trainaug and val, ground truth, masks in `saliency_supervised`."""
    home = folder / "voc_animals" / "VOCdevkit" / "VOC2012"
    lists = home / "ImageSets" / "Segmentation"
    for place in (lists, *(home / name for name in ("JPEGImages", "SegmentationClassAug", "saliency_supervised"))):
        place.mkdir(parents=True)
    for split, seed in (("trainaug", 0), ("val", 1)):
        source = demo_source("val", num_photos=num_photos, size_px=128, seed=seed)
        names = [f"{split}_{number:06d}" for number in range(num_photos)]
        for name, item in zip(names, source.items, strict=True):
            members = source.make(item).members
            (home / "JPEGImages" / f"{name}.jpg").write_bytes(members["jpg"])
            _write_palette(home / "saliency_supervised" / f"{name}.png", members[INSTANCES_MEMBER])
            _write_palette(home / "SegmentationClassAug" / f"{name}.png", members[SEGMENTS_MEMBER])
        (lists / f"{split}.txt").write_text("\n".join(names) + "\n")
    return home


def _write_palette(path: Path, map_png: bytes) -> None:
    """The map as 8-bit grey, as VOC's tools read it."""
    with Image.open(io.BytesIO(map_png)) as opened:
        Image.fromarray(numpy.asarray(opened).astype(numpy.uint8)).save(path)


def catalogued_run(folder: Path) -> tuple[str, str, str]:
    """(a run of one epoch with a catalogue, the shards it was trained on, other shards); both shard folders have ground truth."""
    from mcdist import run
    from mcdist.config.file import load_config
    from mcdist.run_dir import RunDir
    from mcdist.workflows.cataloguing import cluster_run

    train = shards(folder / "train", num_photos=16, part="val")
    others = shards(folder / "val", num_photos=8, part="val")
    settings = [*SMALL, f"data.train={train}", f"run.dir={folder / 'run'}", "optim.epochs=1", "evaluate.component_area_min=0", "report.console=off"]
    say("training a small run")
    run.train_run(load_config(Path(CONFIG), overrides=settings))
    cluster_run(RunDir(folder / "run"), num_clusters=4)
    return str(folder / "run"), train, others
