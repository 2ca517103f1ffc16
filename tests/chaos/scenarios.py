"""Scenarios: the commands that are struck, each small, each with what it reads and the folder that it writes."""

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from tests.chaos.warm_server import Command, Warm
from tests.makers.tiny_shards import draw_members, tiny_shards

NUM_PHOTOS, NUM_STEPS = 12, 12
SMALL = """
data: {num_workers: 0, block: 4, num_lanes: 4}
views: {size_px: 32, max_objects: 2}
model: {backbone: resnet18, num_stages: 3, trainable_from: 3, norm: frozen, decoder_width: 8, atrous_rates: [1, 2], embedding_dim: 8, bank_size: 16}
optim: {global_batch: 4, epochs: 4, lr: 0.05}
checkpoint: {every_steps: 2, keep: 2}
run: {device: cpu, num_threads: 1, deterministic: true, hang_timeout_s: 6, collective_timeout_s: 20, lease_s: 5}
report: {mlflow: "off", console: "off", log_every_steps: 1}
evaluate: {size_px: 32, batch: 4, chunk: 4, component_area_min: 0.0, num_seeds: 2, num_panels: 2, classes: {background: [0], one: [1], two: [2]}}
"""


@dataclass(frozen=True)
class Inputs:
    """What all scenarios read, made once."""

    config: Path
    shards: Path
    photos: Path
    trained: Path
    catalogued: Path
    segments: Path


@dataclass(frozen=True)
class Scenario:
    """`commands(folder)`: what is started in `folder`, a command for each rank. `reads`: folder names of `Inputs` that are copied there, since it writes into
    them or since they are to be damaged. `proves`: patterns of files that must be the same bytes in each undisturbed run, or the scenario proves nothing."""

    name: str
    commands: Callable[[Path], list[Command]]
    reads: tuple[str, ...]
    proves: tuple[str, ...]
    trains: bool = False
    large: bool = False
    """Only in the large run."""


def make_inputs(folder: Path, *, warm: Warm) -> Inputs:
    """Into `folder`: shards, photos, a trained run, one with a catalogue, and segments of the photos."""
    folder.mkdir()
    config = folder / "small.yaml"
    config.write_text(SMALL)
    inputs = Inputs(config, folder / "shards", folder / "photos", folder / "trained", folder / "catalogued", folder / "segments")
    tiny_shards(inputs.shards, NUM_PHOTOS)
    for index in range(6):
        photo = inputs.photos / ("trip" if index % 3 == 0 else "") / f"photo {index}.png"
        photo.parent.mkdir(parents=True, exist_ok=True)
        photo.write_bytes(draw_members(index)["png"])
    _run(
        warm,
        "train",
        str(config),
        f"data.train={inputs.shards}",
        f"data.val={inputs.shards}",
        f"run.dir={inputs.trained}",
        "optim.epochs=8",
        log=folder / "log",
    )
    shutil.copytree(inputs.trained, inputs.catalogued)
    _run(warm, "cluster", str(inputs.catalogued), "--clusters", "3", log=folder / "log")
    _run(warm, "segment", str(inputs.catalogued), str(inputs.photos), "--out", str(inputs.segments), log=folder / "log")
    return inputs


def _run(warm: Warm, *argv: str, log: Path) -> None:
    code = warm.run([Command(argv)], log=log).codes[0]
    if code:
        raise RuntimeError(f"the scenarios' inputs cannot be made: mcdist {' '.join(argv)} ended with {code}:\n{log.read_text()}")


Argv = Callable[[Path], tuple[str, ...]]
"""The command line, in a folder."""


def _ranks(num_ranks: int, argv: Argv) -> Callable[[Path], list[Command]]:
    return lambda folder: [Command(argv(folder), rank=rank, num_ranks=num_ranks) for rank in range(num_ranks)]


def _one(argv: Argv) -> Callable[[Path], list[Command]]:
    return _ranks(1, argv)


def _train(folder: Path) -> tuple[str, ...]:
    return "train", f"{folder}/small.yaml", f"data.train={folder}/shards", f"run.dir={folder}/out"


def _embed(folder: Path) -> tuple[str, ...]:
    return "embed", f"{folder}/trained", f"data.val={folder}/shards"


_CHECKPOINTS = ("out/checkpoints/*/state.safetensors",)
SCENARIOS = (
    Scenario("train", _one(_train), ("config", "shards"), _CHECKPOINTS, trains=True),
    Scenario("train, 2 ranks", _ranks(2, _train), ("config", "shards"), _CHECKPOINTS, trains=True),
    Scenario("train, 4 ranks", _ranks(4, _train), ("config", "shards"), _CHECKPOINTS, trains=True, large=True),
    Scenario("feature store", _one(_embed), ("trained", "shards"), ("trained/features/**/*",)),
    Scenario("feature store, 2 ranks", _ranks(2, _embed), ("trained", "shards"), ("trained/features/**/*",), large=True),
    Scenario(
        "evaluation",
        _one(lambda folder: ("evaluate", f"{folder}/trained", f"data.val={folder}/shards")),
        ("trained", "shards"),
        ("trained/panels/*.png",),
    ),
    Scenario(
        "proposals",
        _one(lambda folder: ("proposals", "make", "spectral_residual", f"{folder}/photos", "--out", f"{folder}/out")),
        ("photos",),
        ("out/**/*.png",),
    ),
    Scenario(
        "shards",
        _one(
            lambda folder: (
                *("shards", "build", "folder", f"{folder}/photos", "--proposals", "spectral_residual"),
                *("--shard-size", "2", "--out", f"{folder}/out"),
            )
        ),
        ("photos",),
        ("out/*.tar", "out/manifest.json"),
    ),
    Scenario(
        "catalogue",
        _one(lambda folder: ("cluster", f"{folder}/trained", "--clusters", "3", f"data.train={folder}/shards")),
        ("trained", "shards"),
        ("trained/catalogue/*",),
    ),
    Scenario(
        "segments",
        _one(lambda folder: ("segment", f"{folder}/catalogued", f"{folder}/photos", "--out", f"{folder}/out")),
        ("catalogued", "photos"),
        ("out/segments/**/*.json", "out/maps/**/*.png"),
    ),
    Scenario(
        "data set",
        _one(
            lambda folder: (
                *("export-dataset", f"{folder}/segments", "--format", "coco", "--unnamed", "classes"),
                *("--photos", f"{folder}/photos", "--run", f"{folder}/catalogued", "--out", f"{folder}/out"),
            )
        ),
        ("segments", "photos", "catalogued"),
        ("out/**/*.json",),
    ),
    Scenario(
        "encoder handed on",
        _one(lambda folder: ("export", f"{folder}/trained", "--out", f"{folder}/out", "--licence", "apache-2.0")),
        ("trained",),
        ("out/model.safetensors",),
    ),
    Scenario(
        "names",
        lambda folder: [Command((f"{folder}/catalogued",), module="tests.chaos.namer")],
        ("catalogued",),
        ("catalogued/names.json",),
    ),
)
"""What is struck."""
