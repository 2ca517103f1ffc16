"""A profile: every part of a training step is there, nothing of the run changes, and what the training would make is made."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from mcdist import run
from mcdist.cli.main import main
from mcdist.config import Config
from mcdist.config.file import load_config
from mcdist.errors import ConfigError, HeldError
from mcdist.records.step_profile import REST, StepPart
from mcdist.resilience.claim import claim_run
from mcdist.run_dir import RunDir, list_checkpoints
from mcdist.workflows.profiling import parts_of, profile_training
from tests.fixture_types import MakeShards
from tests.makers.stopped_run import last_state

SMALL = """
data: {num_workers: 0, block: 4, num_lanes: 4}
views: {size_px: 32, max_objects: 2}
model: {backbone: resnet18, num_stages: 3, decoder_width: 8, atrous_rates: [1, 2], embedding_dim: 8, bank_size: 16, momentum: 0.9}
optim: {global_batch: 4, epochs: 1, lr: 0.05}
run: {device: cpu, num_threads: 1}
report: {mlflow: "off", console: "off"}
"""
CACHED = ("views.cached=1", "model.trainable_from=3", "loss.contrast_weight=0")

Configure = Callable[..., Config]


@pytest.fixture
def configure(tmp_path: Path, make_shards: MakeShards) -> Configure:
    """Three steps over twelve photos."""
    (tmp_path / "small.yaml").write_text(SMALL)
    shards = make_shards(12)
    return lambda *overrides: load_config(tmp_path / "small.yaml", overrides=[f"data.train={shards}", f"run.dir={tmp_path / 'run'}", *overrides])


def test_every_part_of_a_step_has_a_time_and_the_encoders_have_arithmetic(configure: Configure) -> None:
    profile = profile_training(configure(), num_steps=2)
    assert profile is not None
    part = {part.name: part for part in profile.parts}
    assert {"waiting for data", "key encoder, forward", "query encoder, forward", "query encoder, backward", "loss: contrast", "loss: saliency"} <= part.keys()
    assert {"optimizer", "moving average", "pooling of objects", "memory bank", "copy and colours"} <= part.keys()
    assert profile.parts[-1].name == REST
    assert all(len(one.times_ms) == profile.num_steps == 2 for one in profile.parts)
    assert sum(profile.share_percent(one) for one in profile.parts) == pytest.approx(100)
    assert part["query encoder, forward"].gflop == part["key encoder, forward"].gflop > 0
    assert part["query encoder, forward"].gflop < part["query encoder, backward"].gflop <= 2 * part["query encoder, forward"].gflop
    assert part["optimizer"].gflop == 0
    assert profile.matrix_gflops > 0.1 and profile.photos_per_s > 0


def test_a_profile_leaves_no_checkpoint_and_a_run_as_it_was(configure: Configure) -> None:
    config = configure()
    assert run.train_run(config) == 0
    before = last_state(config.run.dir)
    profile_training(config, num_steps=1)
    folder = RunDir(Path(config.run.dir))
    assert len(list_checkpoints(folder.checkpoints)) == 1
    assert all(torch.equal(before[name], tensor) for name, tensor in last_state(config.run.dir).items())


def test_cached_views_are_made_and_stay_for_the_training(configure: Configure) -> None:
    config = configure(*CACHED)
    profile = profile_training(config, num_steps=1)
    assert profile is not None
    assert "key encoder, forward" not in {part.name for part in profile.parts}
    (cache,) = RunDir(Path(config.run.dir)).views.iterdir()
    made = (cache / "manifest.json").stat().st_mtime_ns
    assert run.train_run(config) == 0
    assert (cache / "manifest.json").stat().st_mtime_ns == made


def test_a_run_that_is_held_and_another_experiment_are_refused(configure: Configure) -> None:
    config = configure()
    folder = RunDir(Path(config.run.dir)).create()
    with claim_run(folder.root, attempts=folder.attempts, lease_s=30.0, say=print), pytest.raises(HeldError, match="held"):
        profile_training(config, num_steps=1)
    assert run.train_run(config) == 0
    with pytest.raises(ConfigError, match=r"optim.lr: 0\.05 -> 0\.1"):
        profile_training(configure("optim.lr=0.1"), num_steps=1)


def test_parts_are_sorted_and_the_rest_is_never_negative() -> None:
    short, long, rest = parts_of([(10.0, {"a": 1.0, "b": 6.0}), (8.0, {"a": 1.0, "b": 9.0})], gflop={"b": 2.0})
    assert (short.name, long.name, rest) == ("b", "a", StepPart(name=REST, times_ms=(3.0, 0.0)))
    assert short.gflops == pytest.approx(2000 / 7.5)


def test_the_command_prints_a_table_and_writes_numbers_and_picture(configure: Configure, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = configure()
    arguments = ["profile", str(tmp_path / "small.yaml"), f"data.train={config.data.train}", f"run.dir={config.run.dir}", "--steps", "1"]
    with pytest.raises(SystemExit) as leaving:
        main([*arguments, "--json", str(tmp_path / "p.json"), "--picture", str(tmp_path / "p.svg")])
    assert not leaving.value.code
    printed = capsys.readouterr().out
    assert "of a matrix product %" in printed and "query encoder, backward" in printed and "photos/s" in printed
    kept = json.loads((tmp_path / "p.json").read_text())
    assert kept["photos_per_step"] == 4 and len(kept["step_ms"]) == 1
    svg = (tmp_path / "p.svg").read_text()
    assert svg.count("<rect") >= 12 and "loss: contrast" in svg
