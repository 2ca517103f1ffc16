"""A run as the loop leaves it, generated: records, evaluation, panels, configuration, machine."""

import json
import math
from pathlib import Path
from typing import Any

import numpy

from mcdist.records import Evaluation, Panel, Record, Row, Subject
from mcdist.report.jsonl import MetricsFile
from mcdist.report.pictures.panels import save_panels
from mcdist.run_dir import RunDir

CLASSES = ("background", "cat", "dog", "person", "horse", "cow", "sheep")

CONFIG = """\
schema_version: 1
run: {dir: runs/animals, seed: 0, device: cpu}
data: {train: shards/animals_train, val: shards/animals_val, num_workers: 2}
model: {backbone: resnet50, weights: none, decoder: deeplabv3, embedding_dim: 32}
optim:
  global_batch: 64
  epochs: 60
  lr: 0.004
"""


def make_records(*, num_steps: int = 2520, every: int = 10) -> list[Record]:
    """What the loop writes, with noise."""
    noise = numpy.random.default_rng(0)
    return [record for step in range(every, num_steps + 1, every) for record in _records_at(step, share=step / num_steps, noise=noise)]


def _records_at(step: int, *, share: float, noise: numpy.random.Generator) -> list[Record]:
    contrast = 2.3 + 2.6 * math.exp(-4 * share) + noise.normal(0, 0.07)
    saliency = 0.16 + 0.2 * math.exp(-6 * share) + noise.normal(0, 0.008)
    values: dict[str, tuple[float, str]] = {
        "epoch": (math.floor(share * 59.99), ""),
        "loss": (contrast + saliency, ""),
        "loss/contrast": (contrast, ""),
        "loss/saliency": (saliency, ""),
        "accuracy_percent": (58 * (1 - math.exp(-4 * share)) + noise.normal(0, 1.5), "%"),
        "lr": (0.004 * max(1 - share, 1e-9) ** 0.9, ""),
        "grad_norm": (abs(1.2 + math.exp(-5 * share) + noise.normal(0, 0.2)), ""),
        "images_per_s": (38 + noise.normal(0, 1.2), "1/s"),
        "data_wait_percent": (abs(noise.normal(2, 1)), "%"),
        "step_time_s": (64 / 38 + noise.normal(0, 0.02), "s"),
        "monitor/embedding_rank": (6 + 18 * (1 - math.exp(-3 * share)), ""),
        "monitor/prototype_similarity": (0.92 - 0.6 * (1 - math.exp(-5 * share)), ""),
        "monitor/saliency_coverage_percent": (27 + 3 * math.sin(share * 20), "%"),
        "monitor/bank_fill_percent": (min(100.0, step / 0.2), "%"),
        "monitor/bank_age_mean_steps": (min(0.5, step / 20), ""),
        "monitor/bank_age_max_steps": (min(1.0, step / 10), ""),
        "count/redrawn": (int(share * 412), ""),
        "count/emptied": (int(share * 9), ""),
        "count/dropped_objects": (int(share * 30), ""),
        "count/nonfinite_steps": (0, ""),
        "page_faults_per_step": (40, ""),
        "memory_resident_gib": (5.31, "GiB"),
    }
    return [Record(step=step, name=name, value=float(value), unit=unit) for name, (value, unit) in values.items()]


def make_evaluation(*, classes: tuple[str, ...] = CLASSES, dataset: str = "voc_animals val") -> Evaluation:
    """Two protocols on the predicted masks, one on the proposals, each with its baselines."""
    noise = numpy.random.default_rng(1)
    means = {"random labels": 19.8, "initial backbone": 44.6, "initial": 31.2, "trained backbone": 49.9, "trained": 58.3}
    groups = (("predicted", "maskcontrast-kmeans", 0.0), ("predicted", "mean-embedding", -1.7), ("proposals", "mean-embedding", 3.1))
    rows = tuple(
        _row(masks=masks, protocol=protocol, encoder=encoder, mean=mean + shift, num_classes=len(classes), noise=noise)
        for masks, protocol, shift in groups
        for encoder, mean in means.items()
    )
    return Evaluation(
        step=2520,
        dataset=dataset,
        classes=classes,
        num_photos=437,
        num_photos_in_dataset=1449,
        mask_iou_percent={"predicted": 71.4, "proposals": 77.0},
        has_truth=True,
        rows=rows,
        headline=4,
        protocols={"maskcontrast-kmeans": {"pca_dim": 32, "num_seeds": 5}, "mean-embedding": {"pca_dim": 0, "num_seeds": 5}},
        settings={"size_px": 512, "objects": "photo"},
        wall_s=341.2,
    )


def _row(*, masks: str, protocol: str, encoder: str, mean: float, num_classes: int, noise: numpy.random.Generator) -> Row:
    share = mean / 100
    confusion = noise.integers(0, max(1, int(9000 * (1 - share) / num_classes)), (num_classes, num_classes))
    confusion[numpy.diag_indices(num_classes)] += int(20000 * share)
    confusion[0, 0] += 200_000
    return Row(
        protocol=protocol,
        subject=Subject(encoder=encoder, masks=masks),
        metric="mIoU",
        unit="%",
        values=tuple(float(value) for value in mean + noise.normal(0, 0.5, 5)),
        details={
            "num_objects": 437,
            "class_iou_percent": numpy.clip(mean + noise.normal(0, 11, num_classes), 2, 95).tolist(),
            "confusion": confusion.tolist(),
        },
    )


def make_panel(*, key: str = "2007_000123", seed: int = 0, height: int = 120, width: int = 160) -> Panel:
    """A disc on a gradient: class `seed` modulo the classes, a void ring, one wrong corner."""
    rows, columns = numpy.mgrid[:height, :width].astype(numpy.float32)
    distance = numpy.hypot(rows - height / 2, columns - width * (0.4 + 0.05 * (seed % 5)))
    disc, label = distance < height * 0.3, 1 + seed % (len(CLASSES) - 1)
    photo = numpy.stack([rows * 1.2 + 60, columns + 40, numpy.where(disc, 220, 90)], axis=-1)
    truth = numpy.where(disc, label, 0)
    truth[(distance > height * 0.28) & (distance < height * 0.32)] = 255
    return Panel(
        key=key,
        photo=numpy.clip(photo, 0, 255).astype(numpy.uint8),
        proposals=numpy.where(disc & (columns < width * 0.45), 1, numpy.where(disc, 2, 0)).astype(numpy.int16),
        saliency=(1 / (1 + numpy.exp(numpy.clip((distance - height * 0.3) / 6, -30, 30)))).astype(numpy.float32),
        clusters=numpy.where(disc, label, 0).astype(numpy.uint8),
        truth=truth.astype(numpy.uint8),
    )


def make_start() -> dict[str, Any]:
    """One entry of environment.json."""
    return {
        "time": "2026-11-22T15:20:41+00:00",
        "command": "mcdist train configs/voc_animals.yaml run.dir=runs/animals",
        "commit": "e114e73",
        "host_cpu": "Intel Xeon Platinum 8481C",
        "num_cores": 2,
        "memory_gib": 15.6,
        "device": "cpu",
        "num_ranks": 2,
        "versions": {"python": "3.11.7", "torch": "2.14.1", "torchvision": "0.29.1", "mcdist": "0.1.0"},
        "precision": "bf16",
    }


def make_run(folder: Path, *, with_evaluation: bool = True) -> RunDir:
    """A whole run folder."""
    run_dir = RunDir(folder).create()
    with MetricsFile(run_dir.metrics, after_step=0) as metrics:
        metrics.write(make_records())
    run_dir.config.write_text(CONFIG)
    run_dir.environment.write_text(json.dumps([make_start()]))
    if with_evaluation:
        run_dir.evaluation.write_text(make_evaluation().to_json())
        save_panels([make_panel(key=f"2007_{place:06d}", seed=place) for place in range(3)], run_dir.panels, classes=CLASSES)
    return run_dir
