"""A whole run that learns given groups: it logs, stops, continues and is evaluated, and refuses groups of other photos."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from mcdist import run
from mcdist.config import Config
from mcdist.config.file import load_config
from mcdist.errors import ConfigError
from mcdist.report.jsonl import read_metrics
from mcdist.report.page.html import write_report
from mcdist.run_dir import RunDir, list_checkpoints
from mcdist.trained import load_encoder
from tests.fixture_types import MakeShards
from tests.judged_run import judged
from tests.makers.group_folder import make_groups, make_store, samples_of
from tests.makers.many_ranks import on_ranks
from tests.makers.stopped_run import last_state, stop_after
from tests.train.step_case import named

CONFIG = """
data: {num_workers: 0, block: 4, num_lanes: 4}
views: {size_px: 32, max_objects: 2}
model: {backbone: resnet18, num_stages: 4, levels: 2, decoder: separable, decoder_width: 16, embedding_dim: 8, bank_size: 16, momentum: 0.9}
loss: {group_weight: 1.0, group_contrast_weight: 0.5}
groups: {num_groups: [3, 2]}
optim: {global_batch: 4, epochs: 2, lr: 0.05}
run: {device: cpu, deterministic: true, num_threads: 1}
checkpoint: {every_steps: 3, keep: 2}
report: {mlflow: "off", log_every_steps: 2}
evaluate: {classes: {background: [0], one: [1], two: [2]}, size_px: 64, num_seeds: 2, num_panels: 2, objects: components}
"""

Configure = Callable[..., Config]


@pytest.fixture
def configure(tmp_path: Path, make_shards: MakeShards) -> Configure:
    """Six steps over twelve photos, whose groups are given."""
    (tmp_path / "config.yaml").write_text(CONFIG)
    shards = make_shards(12)
    make_groups(tmp_path / "groups", store=make_store(tmp_path / "store", samples=samples_of(shards), num_photos=12))
    places = [f"data.train={shards}", f"data.val={shards}", f"run.dir={tmp_path / 'run'}", f"groups.given={tmp_path / 'groups'}"]
    return lambda *overrides: load_config(tmp_path / "config.yaml", overrides=[*places, *overrides])


def test_a_run_learns_groups_logs_how_they_are_spread_and_is_evaluated(configure: Configure) -> None:
    folder = RunDir(Path(configure().run.dir))
    assert run.train_run(configure()) == 0
    values = {record.name: record.value for record in read_metrics(folder.metrics)}
    assert {"loss/contrast", "loss/saliency", "loss/group", "loss/group_contrast", "groups/entropy", "groups/largest_share"} <= values.keys()
    assert 0 <= values["groups/entropy"] <= 1 and 0 <= values["groups/largest_share"] <= 1
    assert 0 <= values["groups/accuracy_percent"] <= 100 and 0 <= values["groups/contrast_accuracy_percent"] <= 100
    assert "groups/known" in last_state(str(folder.root))
    encoder = load_encoder(folder.root)
    embedded = encoder(torch.zeros(1, 3, 32, 32))
    assert embedded.groups is not None and embedded.groups.shape[1] == 4 + 3
    evaluation = judged(folder, overrides=[], which="newest")
    assert {row.subject.encoder for row in evaluation.rows} >= {"trained", "initial backbone"}
    assert "<svg" in write_report(folder).read_text()


def test_a_stopped_run_goes_on_with_the_same_bits(configure: Configure, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = configure(f"run.dir={tmp_path / 'whole'}")
    assert run.train_run(whole) == 0
    with monkeypatch.context() as patch:
        stop_after(patch, 4)
        assert run.train_run(configure()) != 0
    assert run.train_run(configure()) == 0
    got, want = (last_state(config.run.dir) for config in (configure(), whole))
    assert got.keys() == want.keys()
    assert not [name for name, tensor in want.items() if not torch.equal(got[name], tensor)]


def test_a_run_goes_on_with_its_own_groups_wherever_they_are_and_with_no_others(configure: Configure, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        stop_after(patch, 3)
        run.train_run(configure())
    other = configure("groups.confidence_min=0.9", "run.allow_changes=[groups.confidence_min]")
    with pytest.raises(ConfigError, match=r"learnt other groups \(digest [0-9a-f]{12}\) than those of "):
        run.train_run(other)
    (tmp_path / "moved").mkdir()
    for name in ("groups", "store"):
        (tmp_path / name).rename(tmp_path / "moved" / name)
    assert run.train_run(configure(f"groups.given={tmp_path / 'moved' / 'groups'}")) == 0


def test_groups_of_other_shards_are_refused(configure: Configure, tmp_path: Path) -> None:
    make_groups(tmp_path / "far" / "groups", store=make_store(tmp_path / "far" / "store", samples="0" * 64, num_photos=12))
    with pytest.raises(ConfigError, match=r"data.train names 12 others"):
        run.train_run(configure(f"groups.given={tmp_path / 'far' / 'groups'}"))


def test_a_run_starts_from_an_encoder_without_a_group_head_and_says_so(configure: Configure, tmp_path: Path) -> None:
    plain = ["loss.group_weight=0", "loss.group_contrast_weight=0", "groups.num_groups=[]", "groups.given="]
    first = configure(f"run.dir={tmp_path / 'first'}", *plain)
    assert run.train_run(first) == 0
    second = configure(f"checkpoint.init_from={tmp_path / 'first'}", "loss.contrast_weight=0", "loss.group_contrast_weight=0", "optim.epochs=1")
    assert run.train_run(second) == 0
    folder = RunDir(Path(second.run.dir))
    assert f"checkpoint.init_from={tmp_path / 'first'} has no head for these groups; it starts anew" in folder.log.read_text()
    started, want = load_file(folder.initial_checkpoint / "state.safetensors"), last_state(str(tmp_path / "first"))
    assert torch.equal(started["query/embedding.weight"], want["query/embedding.weight"])
    assert "query/groups.weight" in started
    values = {record.name for record in read_metrics(folder.metrics)}
    assert "loss/group" in values and "loss/contrast" not in values and "accuracy_percent" not in values
    assert (folder.checkpoints / "best").is_file(), "the best is that of the lowest loss"
    assert list_checkpoints(folder.checkpoints)


GROUP_ALONE = ["loss.contrast_weight=0", "loss.saliency_weight=0", "loss.group_contrast_weight=0", "optim.accumulation_steps=2", "model.norm=group"]


def _train(rank: int, config: Config) -> None:
    assert run.train_run(config) == 0


def test_with_the_group_term_alone_the_other_heads_stay_and_ranks_agree(configure: Configure, tmp_path: Path) -> None:
    alone, together = (configure(*GROUP_ALONE, f"run.dir={tmp_path / name}") for name in ("alone", "together"))
    assert run.train_run(alone) == 0
    on_ranks(2, _train, replace(together, optim=replace(together.optim, accumulation_steps=1)), notes=tmp_path)
    started = load_file(RunDir(tmp_path / "alone").initial_checkpoint / "state.safetensors")
    want, got = last_state(alone.run.dir), last_state(together.run.dir)
    changed = {name.split("/")[1].split(".")[0] for name, tensor in started.items() if not torch.equal(tensor, want[name])}
    assert changed == {"backbone", "decoder", "embedding", "groups"}
    assert not [name for name in want if name.startswith("optimizer/saliency")]
    for name, tensor in want.items():
        if name.startswith("query/"):
            torch.testing.assert_close(got[name], tensor, rtol=1e-3, atol=1e-4, msg=named(name))


def test_predictions_that_collapse_are_told_once(configure: Configure, monkeypatch: pytest.MonkeyPatch) -> None:
    from mcdist.train import log_step

    monkeypatch.setattr(log_step, "spread_of_predictions", lambda predicted: (0.1, 0.97))
    config = configure("report.log_every_steps=1", "groups.num_groups=[3]")
    assert run.train_run(config) == 0
    (line,) = [line for line in RunDir(Path(config.run.dir)).log.read_text().splitlines() if "look collapsed" in line]
    assert "up to step 2: 97 % of the cells with a group were given to one of 3 groups" in line
