"""Training with the fused loss goes where training with the reference goes."""

import importlib
from pathlib import Path
from types import ModuleType

import numpy
import pytest

from mcdist.config_file import load_config
from shards.build import build_shards
from shards.demo import demo_source

ROOT = Path(__file__).parents[2]


@pytest.fixture
def loss_envelope(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    return importlib.import_module("loss_envelope")


@pytest.mark.slow
def test_the_fused_loss_trains_the_demo_inside_the_envelope_of_the_reference(loss_envelope: ModuleType, tmp_path: Path) -> None:
    build_shards(demo_source("train", num_photos=200), folder=tmp_path / "train", shard_size=100, num_workers=2)
    overrides = [f"data.train={tmp_path / 'train'}", "optim.global_batch=4", "data.num_lanes=4", "optim.epochs=4"]
    config = load_config(ROOT / "configs" / "demo.yaml", overrides=overrides)
    envelope = loss_envelope.measure(config, implementation="fused", num_references=3, num_steps=200)
    assert envelope.reference.shape == (3, 191)
    assert envelope.reference.std(0).max() > 0
    assert envelope.reference[:, -20:].mean() < envelope.reference[:, :20].mean()
    assert envelope.distance.max() <= 1


def test_a_curve_beside_the_reference_is_outside(loss_envelope: ModuleType) -> None:
    random = numpy.random.default_rng(0)
    reference = 5 - numpy.linspace(0, 1, 60) + 0.001 * random.standard_normal((3, 60))
    assert loss_envelope.envelope_of(reference, reference.mean(0)).distance.max() < 1
    assert loss_envelope.envelope_of(reference, reference.mean(0) + 0.05).distance.max() > 1
